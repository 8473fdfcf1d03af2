"""The status of keys on the live page of a running Wirekey."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.support.running import PATIENCE, PROVIDER_KEYS, Wirekey, wait_for

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
        assert counts() == {**dict.fromkeys(PROVIDER_KEYS, 0), "openai": CALLS}
    assert {event["credential"] for event in simulated.finished_events(CALLS)} == {"openai/simulator"}


def attention(running):
    """What the live page says needs attention, and the agents that it shows."""
    with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
        state = http.get(f"http://{running.running.console}/console/state").json()
    return {note["what"]: note["level"] for note in state["attention"]}, state["agents"]


def test_open_access_logged_bodies_and_suspended_agents_are_shown(tmp_path):
    settings = {
        "listen": {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"},
        "console": {"sign_in": "loopback"},
        "identity": {"required": False},
        "log": {"format": "json", "bodies": "bodies.jsonl"},
    }
    proxy = Wirekey(tmp_path, settings, "--simulator")
    try:
        proxy.add_agent("alice")
        proxy.agents.change("alice", suspended=True)
        notes, agents = attention(proxy)
        assert notes["Everybody may call: calls need no identity (identity.required is false)."] == "bad"
        (bodies,) = [what for what in notes if what.startswith("Prompts and responses of all agents are logged to")]
        assert str(tmp_path / "bodies.jsonl") in bodies
        assert [(agent["id"], agent["suspended"]) for agent in agents] == [("alice", True)]
    finally:
        proxy.stop()


def test_a_changed_configuration_that_opens_wirekey_is_reported(tmp_path):
    listen = {"forward": "127.0.0.1:0", "gateway": None, "console": None}
    proxy = Wirekey(tmp_path, {"listen": listen}, "--simulator")
    try:
        assert "EVERYBODY MAY CALL" not in proxy.output.read_text()
        file = proxy.folder / "wirekey.yaml"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"identity": {"required": False}}))
        wait_for(lambda: "EVERYBODY MAY CALL" in proxy.output.read_text(), "the warning")
    finally:
        proxy.stop()
