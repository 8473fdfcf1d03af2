"""What each SDK raises: a provider's error as if called direct, and Wirekey's own as the SDK's usual exception."""

from __future__ import annotations

import pytest

from tests.clients.calls import SDKS, named
from tests.support.running import PROVIDER_KEYS, wait_for

CLIENTS = named(SDKS)
STATUSES = {
    "openai": (400, 401, 403, 404, 429, 500, 503),
    "anthropic": (400, 401, 403, 404, 413, 429, 500, 529),
    "gemini": (400, 403, 404, 429, 500, 503),
    "bedrock": (400, 403, 404, 429, 500, 503),
    "mistral": (400, 401, 404, 422, 429, 500, 503),
}


@pytest.mark.parametrize("action", ["chat", "stream"])
@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_a_providers_error_is_raised_as_if_it_had_been_called_direct(stage, language, client, provider, action):
    for status in STATUSES[provider]:
        raised = []
        for way in ("direct", "through"):
            stage.simulator.simulator.reset()
            stage.script(f"fail={status}, retry-after=0")
            raised.append(stage.program(language, way).do(client, action))
        direct, through = raised
        assert (direct.failed, direct.status) == (True, status), direct
        assert through == direct


@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_a_wrong_key_is_raised_as_if_the_program_had_held_it(stage, language, client, provider, monkeypatch):
    monkeypatch.setattr(stage.simulator.simulator, "keys", {name: ["another-key"] for name in PROVIDER_KEYS})
    raised = []
    for way in ("direct", "through"):
        stage.simulator.simulator.reset()
        raised.append(stage.program(language, way).do(client, "chat"))
    direct, through = raised
    assert (direct.failed, direct.status) == (True, {"gemini": 400, "bedrock": 403}.get(provider, 401)), direct
    assert (through.type, through.status) == (direct.type, direct.status)
    assert provider != "gemini" or "API_KEY_INVALID" in through.message


@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_an_error_inside_a_running_stream_is_raised_as_if_the_provider_had_been_called_direct(
    stage, language, client, provider
):
    raised = []
    for way in ("direct", "through"):
        stage.simulator.simulator.reset()
        stage.script("error-after=2")
        raised.append(stage.program(language, way).do(client, "stream"))
    direct, through = raised
    assert through == direct
    assert provider == "gemini" or direct.failed, direct


REFUSALS = {
    "no agent": ("anonymous", "chat", {}, 401, "wirekey agents add NAME"),
    "no provider key": ("keyless", "chat", {}, 503, "has no key for"),
    "denied operation": ("through", "unknown", {}, 403, "The tests deny this operation."),
    "too large": ("through", "chat", {"text": "long " * 300_000}, 413, "limits.body_bytes"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_wirekeys_refusal_is_the_sdks_usual_exception_with_wirekeys_message(stage, language, client, provider, refusal):
    way, action, options, status, sentence = REFUSALS[refusal]
    stage.script(f"fail={status}")
    usual = stage.program(language, "direct").do(client, "chat")
    stage.simulator.simulator.reset()
    raised = stage.program(language, way).do(client, action, **options)
    assert (raised.failed, raised.status) == (True, status), raised
    assert sentence in raised.message
    assert raised.type == usual.type, raised
    assert not stage.simulator.seen


@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_an_sdk_that_retries_gets_its_response_at_the_second_attempt(stage, language, client, provider):
    stage.script("fail=503, retry-after=0")
    outcome = stage.program(language, "through").do(client, "chat", retries=1)
    assert not outcome.failed, outcome
    wait_for(lambda: all(seen.outcome for seen in stage.simulator.seen), "the provider to finish")
    assert [seen.status for seen in stage.simulator.seen] == [503, 200]
    events = stage.proxy.finished_events(2, stage.began)
    assert [event["outcome"] for event in events] == ["upstream_error", "completed"]
