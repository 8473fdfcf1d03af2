"""Unmodified official SDKs through HTTPS_PROXY: their results, the provider's requests, and the audit events."""

from __future__ import annotations

import pytest

from tests.support.running import PROVIDER_KEYS
from tests.support.sdk_calls import CALLS, Way
from wirekey.core.call import new_call_id

PLACEHOLDERS = dict.fromkeys(PROVIDER_KEYS, "no-key-at-all")


@pytest.mark.parametrize("name", CALLS)
def test_an_unmodified_sdk_gets_the_same_through_wirekey_as_direct(name, simulator, through, monkeypatch):
    call, provider, operation, streams = CALLS[name]
    with monkeypatch.context() as context:
        context.delenv("HTTPS_PROXY")
        direct = call(Way(simulator.ca_file, PROVIDER_KEYS, simulator.url), context)
    seen_direct = simulator.seen
    simulator.forget()
    began = new_call_id()

    behind = call(Way(through.certs / "bundle.pem", PLACEHOLDERS), monkeypatch)

    assert behind == direct
    (arrived,) = simulator.seen
    assert PROVIDER_KEYS[provider] in str(arrived.headers) + arrived.target
    assert "no-key-at-all" not in str(arrived.headers) + arrived.target
    assert "wk_" not in str(arrived.headers)
    assert arrived.method == seen_direct[0].method
    event = through.finished_event(began)
    assert (event["agent_id"], event["agent_role"], event["agent_type"]) == ("alice", "engineer", "interactive")
    assert (event["provider"], event["operation"], bool(event["stream"])) == (provider, operation, streams)
    assert (event["policy_result"], event["outcome"], event["status"]) == ("allow", "completed", 200)
    assert event["mcp_server"] == f"{provider}-proxy"
    assert event["tool_name"] == f"{provider}-api"
    assert event["credential"] == f"{provider}/1"
    assert event["input_tokens"] > 0
    assert event["response_bytes"] > 0
    if operation != "embeddings":
        assert event["output_tokens"] > 0
        assert event["finish_reason"]
        assert event["message_count"] == 1


@pytest.mark.parametrize("name", CALLS)
def test_an_agent_token_in_place_of_the_key_is_an_identity(name, simulator, proxy, monkeypatch):
    call, provider, _, _ = CALLS[name]
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.running.forward}")
    began = new_call_id()
    call(Way(proxy.certs / "bundle.pem", dict.fromkeys(PROVIDER_KEYS, proxy.token)), monkeypatch)
    (arrived,) = simulator.seen
    assert PROVIDER_KEYS[provider] in str(arrived.headers) + arrived.target
    assert proxy.token not in str(arrived.headers) + arrived.target
    assert proxy.finished_event(began)["agent_id"] == "alice"
