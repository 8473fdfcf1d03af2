"""The Google Gen AI SDK for Node holds the same session with Gemini Live directly, by the proxy and at the gateway."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.conversation import HERE, direct_environment, install_node_packages, installed, run_behind_exec
from tests.support.own_simulator import simulator
from tests.support.running import PROVIDER_KEYS, wirekey_behind
from wirekey.core.call import new_call_id

__all__ = ["simulator"]

MODEL = "gemini-live-2.5-flash-preview"
OPTIONS = json.dumps({"model": MODEL})


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, listen=listen) as running:
        running.add_agent("alice")
        yield running


@pytest.fixture(scope="module")
def direct(simulator):
    """The messages that the SDK gets from the provider itself."""
    install_node_packages()
    ended = subprocess.run(
        [installed("node"), "live.mjs", OPTIONS],
        cwd=HERE / "node",
        env=direct_environment(simulator),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])
def test_the_sdk_for_node_has_the_same_session(wirekey, simulator, direct, gateway):
    assert sum("usageMetadata" in message for message in direct) == 4
    simulator.forget()
    began = new_call_id()

    done = run_behind_exec(wirekey, installed("node"), "live.mjs", OPTIONS, folder=HERE / "node", gateway=gateway)

    assert json.loads(done.stdout) == direct, done.stderr
    (arrived,) = simulator.seen
    assert dict(arrived.headers)[b"x-goog-api-key"] == PROVIDER_KEYS["gemini"].encode()
    assert "?" not in arrived.target
    connection, *turns = wirekey.finished_events(4, began)
    assert (connection["operation"], connection["model"], connection["outcome"]) == ("realtime", MODEL, "completed")
    assert {(turn["outcome"], turn["parent_id"]) for turn in turns} == {("completed", connection["id"])}
