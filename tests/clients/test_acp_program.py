"""Gemini CLI itself answers calls as the program behind the backend gemini-cli-acp.

One session of two turns, in a network that leads nowhere, with the simulator in place of Google. See
tests/clients/agents/acp.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.agents.programs import CACHE
from tests.support.conversation import installed
from tests.support.running import PROVIDER_KEYS, bare_environment

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """What happened in the session."""
    if not (CACHE / "node_modules").exists():
        pytest.skip("The coding agents are not installed. Run .ci/run.")
    apart = [installed("unshare"), "--net", "--mount"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("The session needs a network of its own, which only root can make.")
    folder = tmp_path_factory.mktemp("acp")
    command = [*apart, sys.executable, "-X", "faulthandler", "-m", "tests.clients.agents.acp", str(folder)]
    done = subprocess.run(command, cwd=CHECKOUT, env=bare_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "acp.json").read_text())


def test_the_program_answers_whole_and_as_a_stream_in_one_conversation(session):
    assert (session["first"], session["finish"]) == ("I am behind the protocol.", "stop")
    assert session["second"].startswith("It was refused:")
    assert session["reasons"] == ["stop"]


def test_a_tool_that_it_asks_permission_for_is_rejected(session):
    assert "canceled by the user" in session["second"]
    assert session["note"] is False


def test_its_calls_are_made_with_its_own_key_and_go_nowhere_else(session):
    assert session["keys"] == [PROVIDER_KEYS["gemini"]] * 3
    assert session["past"] == []


def test_each_turn_is_recorded_as_a_call_of_the_backend(session):
    first, second = session["events"]
    for event in (first, second):
        assert (event["upstream"], event["credential"]) == ("gemini-cli-acp", "gemini-cli-acp")
        assert (event["requested_model"], event["model"]) == (
            "gemini-cli-acp:google/gemini-2.5-flash",
            "gemini-2.5-flash",
        )
        assert (event["outcome"], event["finish_reason"], event["cost_usd"]) == ("completed", "STOP", None)
    assert (bool(first["stream"]), bool(second["stream"])) == (False, True)
