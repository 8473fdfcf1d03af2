"""The status of keys on the live page of a running Wirekey."""

from __future__ import annotations

import httpx
import pytest

from tests.running import PATIENCE, Wirekey, wait_for

CALLS = 3


@pytest.fixture
def simulated(tmp_path):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
    proxy = Wirekey(tmp_path, {"listen": listen, "console": {"sign_in": "loopback"}}, "--simulator")
    yield proxy
    proxy.stop()


def test_simulated_calls_are_counted_only_for_their_provider(simulated):
    token = simulated.add_agent("alice")
    with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
        url = f"http://{simulated.running.gateway}/v1/chat/completions"
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        for _ in range(CALLS):
            answer = http.post(url, json=body, headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 200

        def counts():
            state = http.get(f"http://{simulated.running.console}/console/state").json()
            return {each["name"]: sum(key["calls"] for key in each["keys"]) for each in state["providers"]}

        wait_for(lambda: counts()["openai"] == CALLS, "the calls to be counted")
        assert counts() == {"openai": CALLS, "gemini": 0, "anthropic": 0, "bedrock": 0}
    assert {event["credential"] for event in simulated.finished_events(CALLS)} == {"openai/simulator"}
