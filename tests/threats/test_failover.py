"""THREATS 2.9, R1: a provider's failed response that comes in pieces, when there is another way."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.end_to_end.stream_formats import trust
from tests.running import KEY_ENVIRONMENT, PATIENCE, PROVIDER_KEYS, SimulatorThread, Wirekey, behind
from tests.threats.conftest import OPENAI, beginning

MESSAGES = [{"role": "user", "content": "hello"}]
STATUSES = (401, 429, 500, 502, 503, 504, 529)
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    keys = {"provider": "openai", "keys": ["env:FIRST", "env:SECOND"]}
    routes = [{"match": "two-keys", **keys}, {"match": "sim-fail-*", "fallback": ["gpt-4o-mini"]}]
    environ = KEY_ENVIRONMENT | dict.fromkeys(("FIRST", "SECOND"), PROVIDER_KEYS["openai"])
    running = Wirekey(
        tmp_path_factory.mktemp("wirekey"), behind(simulator, routes=routes, listen=LISTEN), environ=environ
    )
    running.token = running.add_agent("alice")
    yield running
    running.stop()
    assert "a layer failed" not in running.output.read_text()


def client_of(proxy, mode: str, http2: bool) -> httpx.Client:
    base = f"https://{OPENAI}" if mode == "forward" else f"http://{proxy.running.gateway}"
    return httpx.Client(
        base_url=base,
        proxy=proxy.proxy_url("alice", proxy.token) if mode == "forward" else None,
        verify=trust(proxy.root, http2 and mode == "forward"),
        headers={"authorization": f"Bearer {proxy.token}"} if mode == "gateway" else {},
        http1=not http2,
        http2=http2,
        timeout=PATIENCE,
        trust_env=False,
    )


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("mode", ["forward", "gateway"])
def test_R1_a_failed_response_in_two_packets_leads_to_the_next_attempt(proxy, simulator, mode, http2, status):
    with client_of(proxy, mode, http2) as client:
        for used in (False, True):
            simulator.forget()
            # A 401 leads to another key, of the same model.
            model = "two-keys" if status == 401 else f"sim-fail-{status}"
            simulator.simulator.script.clear()
            simulator.simulator.script.add(f"split=40, fail={status}" if status == 401 else "split=40")
            began = beginning()
            answer = client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES})
            assert answer.status_code == 200, (used, answer.text)
            assert answer.json()["choices"]
            event = proxy.finished_event(began)
            assert (event["outcome"], event["status"], event["attempts"]) == ("completed", 200, 2), used
            assert [seen.status for seen in simulator.seen] == [status, 200]
            assert {seen.protocol for seen in simulator.seen} == {"h2" if http2 else "h1"}
            assert json.loads(simulator.seen[0].body)["model"] == model
