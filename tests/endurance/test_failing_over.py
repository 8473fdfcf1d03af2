"""Retries send the same bytes, wait as the provider asks, stop if the client leaves, and are recorded."""

from __future__ import annotations

import hashlib
import json
import time

import httpx
import pytest

from tests.benchmarks.large_bodies import spooled
from tests.endurance.faulty_upstream import refused
from tests.features.metrics.exposition import Scraped
from tests.support.load import chat, now, tunnel
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind, wait_for
from tests.support.serving import wirekey
from tests.support.stream_formats import RawWay

SECOND_MODEL = "gpt-4.1"
LARGE = 6 << 20
LISTEN = {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    with refused() as closed:
        own = {"provider": "openai", "keys": ["env:FIRST", "env:SECOND"]}
        other = {"fallback": [SECOND_MODEL]}
        routes = [
            {"match": "one-key", "provider": "openai", "keys": ["env:FIRST"]},
            {"match": "patient", "failover": {"max_retry_after": 60}},
            {"match": "two-keys", **own},
            {"match": "two-models", **other},
            {
                "match": "closed",
                "upstream_url": closed,
                "auth": "bearer",
                "keys": ["env:FIRST"],
                "fallback": [SECOND_MODEL],
            },
        ]
        settings = behind(
            simulator, routes=routes, timeouts={"first_byte": 3}, failover={"max_retry_after": 1.5}, listen=LISTEN
        )
        keys = dict.fromkeys(("FIRST", "SECOND"), PROVIDER_KEYS["openai"])
        running = Wirekey(tmp_path_factory.mktemp("wirekey"), settings, environ=KEY_ENVIRONMENT | keys)
        running.token = running.add_agent("alice")
        yield running
        running.stop()
        assert "Traceback" not in running.output.read_text()


@pytest.fixture(autouse=True)
def fresh(simulator):
    simulator.forget()
    simulator.simulator.script.clear()


def ask(proxy, request: bytes):
    with tunnel(proxy, proxy.token) as client:
        client.send(request)
        return client.read_response()


def each_attempt(proxy, call_id: str) -> list[dict]:
    shown = wirekey(proxy.folder, "audit", "show", call_id, "--json")
    return json.loads(shown.stdout).get("each_attempt", [])


def test_each_attempt_is_recorded(proxy, simulator):
    began = now()
    simulator.simulator.script.add("fail=503")
    assert ask(proxy, chat("two-keys")).status == 200
    first, second = each_attempt(proxy, proxy.finished_event(began)["id"])
    assert (first["number"], first["failure"], first["status"], first["model"]) == (1, "status", 503, "two-keys")
    assert (second["number"], second["failure"], second["status"], second["model"]) == (2, None, 200, "two-keys")
    assert {first["credential"], second["credential"]} == {"routes[2]/1", "routes[2]/2"}
    assert first["upstream"] == second["upstream"] == "127.0.0.1"
    event = proxy.finished_event(began)
    assert 0 <= first["duration_ms"] <= event["duration_ms"]
    assert event["attempts"] == 2


def test_all_attempts_of_a_failed_call_are_recorded(proxy):
    began = now()
    assert ask(proxy, chat("closed", lines=("x-simulator: fail=500",))).status == 500
    event = proxy.finished_event(began)
    found = [(each["failure"], each["status"]) for each in each_attempt(proxy, event["id"])]
    assert found == [("connect", None), ("upstream_error", 500)]
    assert (event["attempts"], event["status"], event["model"]) == (2, 500, SECOND_MODEL)


def test_a_call_that_succeeds_at_once_has_no_list_of_attempts(proxy):
    began = now()
    assert ask(proxy, chat("two-keys")).status == 200
    assert each_attempt(proxy, proxy.finished_event(began)["id"]) == []


def test_failed_attempts_of_a_successful_call_are_not_counted_as_failures(proxy, simulator):
    began = now()
    before = scraped(proxy)
    for behaviour in ("fail=429", "fail=503", "reset-after=0", "stall-after=0"):
        simulator.simulator.script.add(behaviour)
        assert ask(proxy, chat("two-models")).status == 200
        assert ask(proxy, chat("closed")).status == 200
    events = proxy.finished_events(8, began)
    said = {(event["outcome"], event["status"], event["policy_result"], event["policy_reason"]) for event in events}
    assert said == {("completed", 200, "allow", None)}
    wait_for(lambda: told(scraped(proxy)) == told(before) + 8, "the calls to be counted")
    after = scraped(proxy)
    assert after.total("wirekey_calls_total") - before.total("wirekey_calls_total") == 8
    assert after.total("wirekey_calls_total", outcome="completed") - told(before) == 8
    assert after.total("wirekey_attempts_total") - before.total("wirekey_attempts_total") == 16
    assert after.total("wirekey_denials_total") == before.total("wirekey_denials_total")


def told(figures: Scraped) -> float:
    return figures.total("wirekey_calls_total", outcome="completed")


def scraped(proxy) -> Scraped:
    return Scraped(httpx.get(f"http://{proxy.running.console}/metrics", trust_env=False).text)


# What the provider says about when to come back.


@pytest.mark.parametrize("model", ["one-key", "two-keys"])
def test_a_short_retry_after_is_waited_for(proxy, simulator, model):
    simulator.simulator.script.add("fail=503, retry-after=1")
    began, since = now(), time.monotonic()
    assert ask(proxy, chat(model)).status == 200
    assert time.monotonic() - since >= 1
    event = proxy.finished_event(began)
    assert (event["outcome"], event["attempts"]) == ("completed", 2)


def test_a_long_retry_after_reaches_the_client(proxy, simulator):
    simulator.simulator.script.add("fail=429, retry-after=5")
    began = now()
    answer = ask(proxy, chat("one-key"))
    assert (answer.status, answer.headers["retry-after"]) == (429, "5")
    event = proxy.finished_event(began)
    assert (event["outcome"], event["attempts"], event["duration_ms"] < 5000) == ("upstream_error", 1, True)
    assert len(simulator.seen) == 1


def test_after_a_long_retry_after_another_key_is_tried_at_once(proxy, simulator):
    simulator.simulator.script.add("fail=429, retry-after=50")
    began = now()
    assert ask(proxy, chat("two-keys")).status == 200
    event = proxy.finished_event(began)
    assert (event["attempts"], event["duration_ms"] < 50_000) == (2, True)


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_nothing_more_is_sent_for_a_client_that_leaves_during_the_wait(proxy, simulator, protocol):
    simulator.simulator.script.add("fail=503, retry-after=50")
    began = now()
    if protocol == "h1":
        with tunnel(proxy, proxy.token) as client:
            client.send(chat("patient"))
            wait_for(lambda: simulator.seen, "the call to arrive")
    else:
        way = RawWay(proxy.root, proxy=proxy.proxy_url("alice", proxy.token), http2=True)
        body = {"model": "patient", "messages": []}
        with pytest.raises(httpx.ReadTimeout):
            way.client.send(way.request("openai", "POST", "/v1/chat/completions", json=body, timeout=3))
        way.client.close()
    event = proxy.finished_event(began)
    assert (event["outcome"], event["attempts"], event["status"]) == ("client_cancelled", 1, None)
    assert event["duration_ms"] < 50_000
    assert len(simulator.seen) == 1


# Bodies that lie in a file.


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("fault", ["fail=503", "reset-after=0", "stall-after=0"])
def test_a_large_prompt_is_resent_byte_for_byte(proxy, simulator, fault, http2):
    simulator.simulator.script.add(fault)
    began, body = now(), large("two-keys")
    assert send_large(proxy, body, http2=http2) == 200
    first, second = simulator.seen
    assert first.sha256 == second.sha256 == hashlib.sha256(body).hexdigest()
    event = proxy.finished_event(began)
    assert (event["attempts"], event["outcome"], event["request_bytes"]) == (2, "completed", len(body))
    wait_for(lambda: spooled(proxy) == 0, "the file to be let go")


@pytest.mark.parametrize("model", ["two-models", "closed"])
def test_a_large_prompt_is_sent_to_another_model_with_no_other_byte_changed(proxy, simulator, model):
    if model == "two-models":
        simulator.simulator.script.add("fail=500")
    body = large(model)
    assert send_large(proxy, body, http2=False) == 200
    asked_again = body.replace(f'"{model}"'.encode(), f'"{SECOND_MODEL}"'.encode(), 1)
    assert simulator.seen[-1].sha256 == hashlib.sha256(asked_again).hexdigest()
    wait_for(lambda: spooled(proxy) == 0, "the file to be let go")


def large(model: str) -> bytes:
    return json.dumps(
        {"messages": [{"role": "user", "content": "0123456789" * (LARGE // 10)}], "model": model}
    ).encode()


def send_large(proxy, body: bytes, *, http2: bool) -> int:
    way = RawWay(proxy.root, proxy=proxy.proxy_url("alice", proxy.token), http2=http2)
    headers = {"content-type": "application/json"}
    request = way.request("openai", "POST", "/v1/chat/completions", content=body, headers=headers)
    with way.client:
        return way.client.send(request).status_code
