"""/metrics of a running `wirekey serve`: calls with known figures, and calls that try to inject something."""

from __future__ import annotations

import json
import secrets
import threading
import time

import httpx
import pytest

from tests.support.running import PROVIDER_KEYS, wait_for
from tests.support.stream_formats import FORMATS

TOLD = "input-tokens=31, cached-tokens=7, tokens=12"
GPT = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "openai",
    "gen_ai_request_model": "gpt-4o-mini",
    "gen_ai_response_model": "gpt-4o-mini",
}


def growth(before, after, name: str, **labels: str) -> float:
    return after.total(name, **labels) - before.total(name, **labels)


def grown(served, calls: int, act):
    """Run `act`; return the scrapes before it and after so many calls have ended."""
    before = served.scrape()
    act()
    return before, served.scrape_of(before.total("wirekey_calls_total") + calls)


def test_a_whole_and_a_streamed_response_count_the_tokens_that_the_provider_reports(served):
    def act():
        assert served.chat(behaviour=TOLD) == 200
        assert served.stream("openai-chat", TOLD) == 200

    before, after = grown(served, 2, act)
    for kind, tokens in (("input", 31), ("output", 12)):
        name, labels = "gen_ai_client_token_usage", {"gen_ai_token_type": kind}
        assert growth(before, after, f"{name}_count", **GPT, **labels) == 2
        assert growth(before, after, f"{name}_sum", **GPT, **labels) == 2 * tokens
        assert growth(before, after, "wirekey_agent_tokens_total", agent="alice", **labels) == 2 * tokens
    assert growth(before, after, "gen_ai_server_request_duration_seconds_count", **GPT) == 2
    assert growth(before, after, "gen_ai_server_time_to_first_token_seconds_count", **GPT) == 1
    assert growth(before, after, "gen_ai_server_time_per_output_token_seconds_count", **GPT) == 1
    assert growth(before, after, "wirekey_calls_total", provider="openai", outcome="completed") == 2
    assert growth(before, after, "wirekey_decisions_total", result="allow") == 2
    assert growth(before, after, "wirekey_attempts_total", provider="openai") == 2
    assert growth(before, after, "wirekey_audit_intent_seconds_count") == 2


def test_a_session_counts_its_responses_and_tokens_by_modality(served, since):
    before, after = grown(served, 2, served.session)
    _, response = served.proxy.finished_events(2, since)
    assert growth(before, after, "wirekey_session_responses_total", provider="openai", outcome="completed") == 1
    for kind in ("input", "output"):
        labels = {"provider": "openai", "gen_ai_token_type": kind}
        audio = growth(before, after, "wirekey_session_tokens_total", modality="audio", **labels)
        other = growth(before, after, "wirekey_session_tokens_total", modality="other", **labels)
        assert (audio, audio + other) == (response[f"audio_{kind}_tokens"], response[f"{kind}_tokens"])
    assert after.value("wirekey_open_sessions", provider="openai", operation="realtime") == 0


def test_the_cost_matches_the_audit(served, since):
    before, after = grown(served, 1, lambda: served.chat(behaviour=TOLD))
    event = served.proxy.finished_event(since)
    assert event["cost_usd"] > 0
    for name, labels in {
        "wirekey_cost_usd_total": {"provider": "openai", "model": "gpt-4o-mini"},
        "wirekey_agent_cost_usd_total": {"agent": "alice"},
    }.items():
        assert growth(before, after, name, **labels) == pytest.approx(event["cost_usd"])


def test_each_provider_is_counted_under_its_own_name(served):
    formats = {"gemini-sse": "gcp.gemini", "anthropic": "anthropic", "bedrock-converse": "aws.bedrock"}
    before, after = grown(served, 3, lambda: [served.stream(name) for name in formats])
    for name in formats.values():
        for metric in ("gen_ai_server_request_duration_seconds", "gen_ai_server_time_to_first_token_seconds"):
            assert growth(before, after, f"{metric}_count", gen_ai_provider_name=name) == 1


def test_denied_calls_are_counted_by_refusal_code(served):
    def act():
        assert served.chat("forbidden-model") == 403
        assert served.get("/v1/no-such-operation/") == 404
        assert served.stranger() == 401

    before, after = grown(served, 3, act)
    assert growth(before, after, "wirekey_decisions_total", result="deny") == 3
    assert growth(before, after, "wirekey_denials_total", reason="policy_denied", provider="openai") == 1
    assert growth(before, after, "wirekey_denials_total", reason="unknown_operation", provider="openai") == 1
    assert growth(before, after, "wirekey_denials_total", reason="no_agent", provider="openai") == 1
    assert growth(before, after, "wirekey_denials_total") == 3
    assert growth(before, after, "gen_ai_server_request_duration_seconds_count") == 0


FAILING = {"fail=500": "500", "reset-after=0": "upstream_reset", "rubbish": "upstream_unreadable"}


@pytest.mark.parametrize(("behaviour", "error"), FAILING.items())
def test_failures_upstream_have_an_error_type(served, behaviour, error):
    served.chat()
    before, after = grown(served, 1, lambda: served.chat(behaviour=behaviour))
    name = "gen_ai_server_request_duration_seconds_count"
    assert growth(before, after, name, error_type=error, gen_ai_request_model="gpt-4o-mini") == 1


def test_a_refused_key_is_reported_as_cooling_down(served):
    assert served.scrape().value("wirekey_keys", provider="anthropic", state="usable") == 1
    served.stream("anthropic", "fail=401")
    scraped = wait_for(
        lambda: (found := served.scrape()).value("wirekey_keys", provider="anthropic", state="cooling_down") and found,
        "the key to cool down",
    )
    assert scraped.value("wirekey_keys", provider="anthropic", state="usable") == 0
    assert scraped.value("wirekey_keys", provider="openai", state="usable") == 1


def test_an_open_stream_is_counted_while_it_is_open(served, simulator):
    def at_first_event():
        nonlocal seen
        seen = wait_for(lambda: (found := served.scrape()).value("wirekey_open_streams") and found, "an open stream")

    seen = None
    served.way.stream(FORMATS["openai-chat"], "events=4, pace=0.5", at_first_event=at_first_event)
    assert seen.value("wirekey_open_calls") == seen.value("wirekey_open_streams") == 1
    assert seen.value("wirekey_client_connections") >= 1
    wait_for(lambda: served.scrape().value("wirekey_open_calls") == 0, "the stream to end")


def test_the_state_of_the_process_is_reported(served):
    scraped = wait_for(lambda: (s := served.scrape()).total("wirekey_event_loop_lag_seconds_count") and s, "a look")
    for part in ("listeners", "audit", "ca", "policy"):
        assert scraped.value("wirekey_ready", part=part) == 1
    assert scraped.value("wirekey_audit_queue_rows") < 20_000
    assert scraped.value("wirekey_audit_lost_total") == scraped.value("wirekey_simulated") == 0
    assert 86_400 < scraped.value("wirekey_ca_end_timestamp_seconds") - time.time() < 20 * 366 * 86_400
    assert scraped.total("wirekey_build_info", version="0.1.0") == 1
    assert scraped.value("process_resident_memory_bytes") > 1_000_000


def test_unknown_models_add_no_series(served):
    canary = served.canaries("model")

    def hostile(number):
        served.chat(f"{canary}-{number}", "fail=404")
        served.chat(f"forbidden-{canary}-{number}")
        served.get(f"/v1/{canary}/{number}")

    grown(served, 3, lambda: hostile(0))
    before = len(served.scrape().samples)
    _, after = grown(served, 60, lambda: [hostile(number) for number in range(1, 21)])
    assert len(after.samples) == before


def test_metrics_have_no_secrets_and_no_content(served):
    for provider, key in PROVIDER_KEYS.items():
        served.canaries.add(f"key of {provider}", key)
    served.chat(f"sim-{served.canaries('denied model')}", "fail=400")
    response = served.console.get("/metrics")
    whole = str(response.headers).encode() + response.content
    assert served.canaries.found_in(whole) == []
    assert len(served.canaries.words) >= 8


def test_only_programs_of_this_machine_can_read_metrics_by_a_local_name(served):
    port = served.console.base_url.port
    for host, status in {
        f"127.0.0.1:{port}": 200,
        f"localhost:{port}": 200,
        f"[::1]:{port}": 200,
        f"rebound.example:{port}": 403,
        "localhost.evil.example": 403,
    }.items():
        assert served.console.get("/metrics", headers={"host": host}).status_code == status
    for name in ("Forwarded", "X-Forwarded-For", "Via"):
        assert served.console.get("/metrics", headers={name: "1.2.3.4"}).status_code == 403
    assert served.console.post("/metrics").status_code == 405
    assert served.console.head("/metrics").content == b""


def test_concurrent_scrapes_succeed_and_do_not_block_the_loop(served):
    responses = []

    def ask():
        with httpx.Client(base_url=served.console.base_url, timeout=60, trust_env=False) as client:
            responses.extend(client.get("/metrics").status_code for _ in range(20))

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for one in asking:
        one.start()
    assert served.chat() == 200
    for one in asking:
        one.join()
    assert responses == [200] * 160


def test_a_refused_scrape_is_a_json_error_without_the_requested_host(served):
    token = secrets.token_hex(8)
    response = served.console.get("/metrics", headers={"host": f"{token}.example"})
    assert set(json.loads(response.text)) == {"error", "error_description"}
    assert token not in response.text
