"""Real clients of Bedrock's two-way operation: the same conversations directly, by the proxy and at the gateway."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import blocks_of
from tests.support.aws_signing import REAL, signing_simulator, signing_wirekey
from tests.support.conversation import (
    HERE,
    direct_environment,
    install_node_packages,
    installed,
    programs_python,
    run_behind_exec,
)
from tests.support.two_way_client import MODEL
from tests.threats.conftest import beginning

DELIVERIES = ["", "at-once", "bytewise", "pauses", "split=7", "goaway"]
OPTIONS = {"model": MODEL, "turns": ["hello", "how are you?"], "audio": True, "repeat": len(DELIVERIES)}
TURNS = len(OPTIONS["turns"]) + 1
"""Turns of a conversation: those in words, and one in sound."""
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "realtime.md"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = signing_simulator(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    with signing_wirekey(tmp_path_factory.mktemp("wirekey"), simulator, listen=listen) as running:
        yield running


@pytest.fixture(scope="module")
def direct(simulator):
    """What the SDK gets from the provider itself, in its usual delivery."""
    install_node_packages()
    environment = direct_environment(simulator)
    del environment["AWS_BEARER_TOKEN_BEDROCK"]
    environment |= {"AWS_ACCESS_KEY_ID": REAL[0], "AWS_SECRET_ACCESS_KEY": REAL[1]}
    ended = subprocess.run(
        [installed("node"), "two_way.mjs", json.dumps(OPTIONS)],
        cwd=HERE / "node",
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])
def test_the_sdk_for_node_has_the_same_conversations_in_each_delivery(proxy, simulator, direct, gateway):
    assert [conversation["heard"][-1][0] for conversation in direct] == ["completionEnd"] * len(DELIVERIES)
    simulator.forget()
    for delivery in DELIVERIES:
        simulator.simulator.script.add(delivery)
    began = beginning()
    assert run(proxy, "two_way.mjs", json.dumps(OPTIONS), gateway=gateway) == direct
    for seen in simulator.seen:
        assert (seen.protocol, seen.status, seen.outcome) == ("h2", 200, "completed")
        assert seen.received_events == 25
        assert proxy.pair.access_key not in str(seen.headers)
    events = proxy.finished_events(len(DELIVERIES) * (1 + TURNS), began)
    turns = [event for event in events if event["parent_id"]]
    assert len(turns) == len(DELIVERIES) * TURNS
    assert len(events) - len(turns) == len(DELIVERIES)
    assert {(event["agent_id"], event["outcome"]) for event in events} == {("alice", "completed")}
    assert {turn["finish_reason"] for turn in turns} == {"END_TURN"}
    assert all(turn["audio_output_tokens"] for turn in turns)
    assert sum(turn["audio_input_tokens"] for turn in turns) > 0


def test_the_sdk_raises_its_usual_exception(proxy, simulator, direct):
    simulator.simulator.script.add("error-after=4")
    (conversation,) = run(proxy, "two_way.mjs", json.dumps(OPTIONS | {"repeat": 1}))
    assert conversation["error"]["name"] == "ThrottlingException"
    assert conversation["heard"] == direct[0]["heard"][:4]


def test_the_program_of_the_guide_runs(proxy, direct):
    (program,) = re.findall(r"^```js\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert direct
    ended = run_node(proxy, "--input-type=module", "-e", program)
    assert ended == "You said: Hello?"


def test_the_python_program_of_the_guide_runs_at_the_gateway(proxy, simulator, tmp_path):
    (program,) = [block for block in blocks_of("docs/guides/realtime.md") if block.about.get("file") == "sonic.py"]
    (tmp_path / "sonic.py").write_text(program.text)
    simulator.forget()
    ended = run_behind_exec(proxy, programs_python(), "sonic.py", gateway=True, folder=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout == "You said: Hello?"
    (seen,) = simulator.seen
    assert (seen.protocol, seen.status, seen.outcome) == ("h2", 200, "completed")
    assert proxy.pair.access_key not in str(seen.headers)


def run(proxy, *arguments: str, gateway: bool = False):
    return json.loads(run_node(proxy, *arguments, gateway=gateway))


def run_node(proxy, *arguments: str, gateway: bool = False) -> str:
    """Run Node behind Wirekey, with the agent's pair as its only identity. Return what it printed."""
    address = f"http://{proxy.running.forward}"
    nobody = {} if gateway else {"HTTPS_PROXY": address, "https_proxy": address}
    ended = run_behind_exec(
        proxy, installed("node"), *arguments, variables=nobody, gateway=gateway, folder=HERE / "node"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
