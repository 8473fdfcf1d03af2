"""OpenAI's SDK for Node over WebSockets: the same transcript direct, through the proxy and at the gateway."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.conversation import HERE, direct_environment, install_node_packages, installed, run_behind_exec
from tests.support.running import PATIENCE, PROVIDER_KEYS, bare_environment

COMMAND = "websockets.mjs"


def transcript(said: subprocess.CompletedProcess[str]) -> dict:
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


@pytest.fixture(scope="module")
def direct(running_stage) -> dict:
    install_node_packages()
    environment = bare_environment() | direct_environment(running_stage.simulator)
    return transcript(
        subprocess.run(
            [installed("node"), COMMAND],
            cwd=HERE / "node",
            env=environment,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            check=False,
        )
    )


@pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])
def test_the_sdk_for_node_gets_the_same_transcript_as_direct(stage, direct, gateway):
    said = run_behind_exec(stage.proxy, installed("node"), COMMAND, folder=HERE / "node", gateway=gateway)
    assert transcript(said) == direct
    assert [event["type"] for event in direct["realtime"]][-1] == "response.done"
    assert [event["type"] for event in direct["responses"]].count("response.completed") == 2
    realtime, responses = stage.simulator.seen[-2:]
    assert (realtime.target, responses.target) == ("/v1/realtime?model=gpt-realtime", "/v1/responses")
    for arrived in (realtime, responses):
        assert dict(arrived.headers)[b"authorization"] == f"Bearer {PROVIDER_KEYS['openai']}".encode()
    events = stage.proxy.finished_events(6, stage.began)
    operations = sorted((event["operation"], event["outcome"]) for event in events)
    assert operations == [
        ("realtime", "completed"),
        ("realtime.response", "completed"),
        ("responses", "completed"),
        ("responses", "completed"),
        ("responses", "upstream_error"),
        ("responses.connect", "completed"),
    ]
