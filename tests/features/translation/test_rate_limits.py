"""The headers of rate limits, in the names and the units of the client's format."""

import pytest

from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.rate_limits import rate_limits

NOW = 1767225600.0  # 2026-01-01T00:00:00Z
OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "60",
    "anthropic-ratelimit-tokens-remaining": "149984",
    "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",
    "anthropic-ratelimit-tokens-reset": "2026-01-01T00:06:00Z",
}


def test_limits_of_openai_get_the_names_and_times_of_anthropic():
    assert rate_limits(FORMATS["openai.chat"], FORMATS["anthropic"], OPENAI, NOW) == ANTHROPIC


@pytest.mark.parametrize("client", [FORMATS["openai.chat"], FORMATS["openai.responses"]])
def test_limits_of_anthropic_get_the_names_and_durations_of_openai(client):
    given = {**ANTHROPIC, "anthropic-ratelimit-input-tokens-limit": "7", "anthropic-other": "secret"}
    assert rate_limits(FORMATS["anthropic"], client, given, NOW) == OPENAI


@pytest.mark.parametrize("upstream", [FORMATS["gemini"], FORMATS["converse"], FORMATS["invoke"]])
@pytest.mark.parametrize("client", FORMATS.values())
def test_none_are_made_up(upstream, client):
    assert rate_limits(upstream, client, OPENAI | ANTHROPIC, NOW) == {}
    assert rate_limits(client, upstream, OPENAI | ANTHROPIC, NOW) == {}


@pytest.mark.parametrize(
    ("duration", "time"),
    [
        ("120ms", "2026-01-01T00:00:01Z"),
        ("1h0m30s", "2026-01-01T01:00:30Z"),
        ("7.66s", "2026-01-01T00:00:08Z"),
        ("", None),
        ("soon", None),
        ("-5s", None),
        ("99999999999999999999s", None),
    ],
)
def test_a_duration_becomes_a_time_or_nothing(duration, time):
    found = rate_limits(FORMATS["openai.chat"], FORMATS["anthropic"], {"x-ratelimit-reset-tokens": duration}, NOW)
    assert found.get("anthropic-ratelimit-tokens-reset") == time


@pytest.mark.parametrize(
    ("time", "duration"),
    [
        ("2026-01-01T00:00:00.250Z", "250ms"),
        ("2026-01-01T02:00:05Z", "2h0m5s"),
        ("2020-01-01T00:00:00Z", "0ms"),
        ("9999-01-01T00:00:00Z", "8784h0m0s"),
        ("tomorrow", None),
    ],
)
def test_a_time_becomes_a_duration_or_nothing(time, duration):
    found = rate_limits(FORMATS["anthropic"], FORMATS["openai.chat"], {"anthropic-ratelimit-tokens-reset": time}, NOW)
    assert found.get("x-ratelimit-reset-tokens") == duration


@pytest.mark.parametrize("value", ["", "many", "1 2", "٣", "1" * 19])
def test_a_count_that_is_no_number_is_left_out(value):
    assert rate_limits(FORMATS["openai.chat"], FORMATS["anthropic"], {"x-ratelimit-limit-tokens": value}, NOW) == {}
