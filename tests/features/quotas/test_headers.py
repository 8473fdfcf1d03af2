"""The headers of a response name what is left of limits per minute, as the client's format does."""

from __future__ import annotations

import pytest

from tests.features.quotas.making import START, Enforced
from wirekey.features.quotas.definition import Quota
from wirekey.features.quotas.headers import duration, limit_headers, moment

LIMITED = Quota("a", "agent", requests_per_minute=600, tokens_per_minute=60_000)


def test_openai_has_a_duration():
    hold = Enforced(LIMITED).call(tokens=200)
    assert limit_headers(hold, "openai", {}, START) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "11",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-remaining-tokens": "1000",
        "x-ratelimit-reset-tokens": "200ms",
    }


def test_anthropic_has_a_moment():
    hold = Enforced(LIMITED).call(tokens=200)
    assert limit_headers(hold, "anthropic", {}, START) == {
        "anthropic-ratelimit-requests-limit": "600",
        "anthropic-ratelimit-requests-remaining": "11",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",
        "anthropic-ratelimit-tokens-limit": "60000",
        "anthropic-ratelimit-tokens-remaining": "1000",
        "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:01Z",
    }


def test_the_tightest_limit_is_named():
    enforced = Enforced(
        Quota("a", "agent", requests_per_minute=600), Quota("b", "all", requests_per_minute=60, burst=1)
    )
    assert limit_headers(enforced.call(), "gemini", {}, START)["x-ratelimit-limit-requests"] == "600"
    for _ in range(40):
        enforced.clock.now += 0.1
        hold = enforced.call()
    assert limit_headers(hold, "gemini", {}, START)["x-ratelimit-limit-requests"] == "60"


def test_the_headers_of_the_provider_stand():
    hold = Enforced(LIMITED).call(tokens=200)
    found = limit_headers(hold, "openai", {"x-ratelimit-reset-requests": "1s"}, START)
    assert {name.rpartition("-")[2] for name in found} == {"tokens"}


def test_without_limits_per_minute_there_are_no_headers():
    assert limit_headers(Enforced(Quota("a", "agent", concurrent=1)).call(), "openai", {}, START) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (-1, "0ms"), (0.0124, "12ms"), (0.9996, "1s"), (1.5, "1.5s"), (60, "1m0s"), (3661.25, "61m1.25s")],
)
def test_durations_are_those_of_openai(seconds, text):
    assert duration(seconds) == text


def test_moments_are_rounded_up_to_a_whole_second():
    assert [moment(START), moment(START + 0.001)] == ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"]
