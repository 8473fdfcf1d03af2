"""Real coding agents work through the proxy and the gateway with what `exec` sets, and nothing of theirs goes past it.

Each session writes a file, reads it back with the agent's shell tool, and answers. The sessions run side by side in a
network that leads nowhere; see tests/clients/agents. `WIREKEY_AGENTS=all` also runs the agents that CI leaves out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.agents.programs import (
    AGENTS,
    ANSWER,
    BUDGET,
    BUDGETED,
    CACHE,
    CONTENT,
    GATEWAY,
    MODES_OF,
    PROXY,
    TRANSLATED,
)
from tests.support.conversation import installed
from tests.support.running import bare_environment
from wirekey.features.quotas.runs.program import EXHAUSTED

CHECKOUT = Path(__file__).parents[2]
GROUPS = [
    ["claude-code", "claude-code-bedrock", "codex", "codex-base-url", "gemini-cli"],
    ["opencode-openai", "opencode-anthropic", "opencode-google"],
    [
        "aider-openai",
        "aider-gemini",
        "claude-code-login",
        "claude-code-headers",
        "gemini-cli-login",
        "gemini-cli-vertex",
    ],
    [name for name in AGENTS if AGENTS[name].upstream],
]
if os.environ.get("WIREKEY_AGENTS") == "all":
    GROUPS.append([name for name in AGENTS if not any(name in group for group in GROUPS)])
# The sessions of the last group end early, as their budget is spent.
GROUPS.append([f"{name}-budget" for name in BUDGETED])
SESSIONS = [
    (number, name, mode) for number, group in enumerate(GROUPS[:-1]) for name in group for mode in MODES_OF[name]
]
WITH_BUDGET = [(len(GROUPS) - 1, name, mode) for name in GROUPS[-1] for mode in MODES_OF[name]]


CODEX = (AGENTS["codex"], AGENTS["codex-base-url"])
LEFT_OPEN, ELSEWHERE, USE_HTTP = ("client_cancelled", 101), ("denied", 403), ("denied", 426)
OF_WEBSOCKETS = {
    "codex": (LEFT_OPEN,),
    "codex-on-anthropic": (LEFT_OPEN, ELSEWHERE, USE_HTTP),
    "codex-on-gemini": (LEFT_OPEN, ELSEWHERE, USE_HTTP),
}
"""Codex opens a WebSocket, and does not close it. If its model is translated, it uses HTTP after one error."""


@pytest.fixture(scope="module")
def run_group(tmp_path_factory):
    """A function that runs the sessions of a group of agents, once."""
    results: dict[int, dict] = {}

    def run(number: int) -> dict:
        if number not in results:
            if not (CACHE / "python").exists() or not (CACHE / "node_modules").exists():
                pytest.skip("The coding agents are not installed. Run .ci/run.")
            folder = tmp_path_factory.mktemp("agents")
            apart = [installed("unshare"), "--net", "--mount"]
            if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
                pytest.skip("The sessions need a network of their own, which only root can make.")
            runner = [sys.executable, "-X", "faulthandler", "-m", "tests.clients.agents.sessions"]
            command = [*apart, *runner, str(folder), *GROUPS[number]]
            done = subprocess.run(command, cwd=CHECKOUT, env=bare_environment(), capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            results[number] = json.loads((folder / "sessions.json").read_text())
        return results[number]

    return run


@pytest.mark.parametrize(("group", "name", "mode"), SESSIONS)
def test_an_agent_writes_a_file_reads_it_back_and_answers(run_group, group, name, mode):
    session = run_group(group)["sessions"][f"{name}-{mode}"]
    assert session["code"] == 0, session["output"]
    assert session["note"].strip() == CONTENT
    if "mini" not in name:  # its answer is the output of its last command
        assert f"{ANSWER} " in session["output"], session["output"]
    assert CONTENT in session["output"]


LOGGING_IN = ("gemini-cli-login", "gemini-cli-vertex")
"""Agents whose access token has ended at the start, so that they ask Google for another one."""


@pytest.mark.parametrize(("group", "name", "mode"), SESSIONS)
def test_the_record_of_a_session_has_its_calls_and_no_denial_at_a_provider(run_group, group, name, mode):
    session = run_group(group)["sessions"][f"{name}-{mode}"]
    events = [event for event in session["events"] if event["provider"]]
    calls = [event for event in events if event["outcome"] == "completed"]
    logins = [event for event in calls if event["operation"].startswith("oauth.")]
    assert {event["provider"] for event in calls if event not in logins} == {AGENTS[name].provider}
    assert bool(logins) is (name in LOGGING_IN)
    assert len([event for event in calls if event["requested_model"]]) >= 2
    assert all(event["input_tokens"] for event in calls if event["operation"] in ("messages", "chat.completions"))
    others = [event for event in events if event["outcome"] != "completed"]
    expected = {("declined", 404), *OF_WEBSOCKETS.get(name.removesuffix("-base-url"), ())}
    assert {(event["outcome"], event["status"]) for event in others} <= expected, others


@pytest.mark.parametrize(("group", "name", "mode"), [each for each in SESSIONS if AGENTS[each[1]] in CODEX])
def test_codex_makes_all_its_calls_over_one_websocket(run_group, group, name, mode):
    events = [event for event in run_group(group)["sessions"][f"{name}-{mode}"]["events"] if event["provider"]]
    (connection,) = [event for event in events if event["operation"] == "responses.connect"]
    calls = [event for event in events if event["requested_model"]]
    assert len(calls) >= 3
    assert {(call["operation"], call["parent_id"]) for call in calls} == {("responses", connection["id"])}
    assert {(call["outcome"], call["finish_reason"]) for call in calls} == {("completed", "completed")}
    assert sum(call["input_tokens"] for call in calls) > 0


LABELS = {"claude-code": {"session"}, "codex": {"session", "originator"}, "codex-base-url": {"session", "originator"}}
"""The labels that agents send in headers with each call of a model."""


@pytest.mark.parametrize(("group", "name", "mode"), [session for session in SESSIONS if session[1] in LABELS])
def test_the_labels_of_an_agent_are_recorded_as_unverified(run_group, group, name, mode):
    events = run_group(group)["sessions"][f"{name}-{mode}"]["events"]
    calls = [event for event in events if event["requested_model"] and event["outcome"] == "completed"]
    labels = [json.loads(event["labels_unverified"]) for event in calls]
    assert all(LABELS[name] <= found.keys() for found in labels), labels
    assert {event["labels"] for event in calls} == {None}
    assert len({found["session"] for found in labels}) == 1


@pytest.mark.parametrize(("group", "name", "mode"), SESSIONS)
def test_an_agent_in_gateway_mode_calls_its_models_at_the_gateway(run_group, group, name, mode):
    calls = [event for event in run_group(group)["sessions"][f"{name}-{mode}"]["events"] if event["requested_model"]]
    expected = GATEWAY if mode == "gateway" and AGENTS[name].at_gateway else PROXY
    assert {event["client"] for event in calls} == {expected}


@pytest.mark.parametrize(("group", "name", "mode"), [session for session in SESSIONS if AGENTS[session[1]].signed_in])
def test_an_agent_that_is_signed_in_uses_its_own_account(run_group, group, name, mode):
    """The provider accepts the token of the account only, and Wirekey has no key for it."""
    events = run_group(group)["sessions"][f"{name}-{mode}"]["events"]
    assert {event["credential"] for event in events if event["requested_model"]} == {
        f"{AGENTS[name].provider}/passthrough"
    }


@pytest.mark.parametrize(("group", "name", "mode"), WITH_BUDGET)
def test_a_budget_ends_the_session_of_an_agent_within_its_bound(run_group, group, name, mode):
    session = run_group(group)["sessions"][f"{name}-{mode}"]
    assert session["code"] == EXHAUSTED, session["output"]
    # Some agents give up by themselves after the first refused call, before exec ends them.
    assert re.search(rf"wirekey: the run {name}-{mode}-\w+ has used .* of \${BUDGET}", session["output"])
    calls = [event for event in session["events"] if event["requested_model"] and event["cost_usd"]]
    costs = [event["cost_usd"] for event in calls]
    assert BUDGET <= sum(costs) < BUDGET + max(costs), costs
    assert len({event["labels"] for event in calls}) == 1
    assert json.loads(calls[0]["labels"])["run"].startswith(f"{name}-{mode}-")
    assert f"{ANSWER} {CONTENT}" not in session["output"]
    assert not session["outlived"]  # Gemini CLI starts itself a second time, and does not pass a signal on


@pytest.mark.parametrize(("group", "name", "mode"), [each for each in WITH_BUDGET if each[1].startswith("claude-code")])
def test_sub_agents_spend_the_budget_of_their_run_and_are_named_in_its_tree(run_group, group, name, mode):
    """Claude Code starts a sub-agent, which starts another one."""
    session = run_group(group)["sessions"][f"{name}-{mode}"]
    calls = [event for event in session["events"] if event["requested_model"]]
    found = [json.loads(event["labels_unverified"]) for event in calls]
    assert len({labels["session"] for labels in found}) == 1
    upper, lower = dict.fromkeys(labels["sub_agent"] for labels in found if "sub_agent" in labels)
    assert {(labels.get("sub_agent"), labels.get("parent_agent")) for labels in found} == {
        (None, None),
        (upper, None),
        (lower, upper),
    }
    (tree,) = session["trees"]
    (shown,) = session["shown"]
    path = []
    while tree["nodes"]:
        (tree,) = tree["nodes"]
        path.append((tree["label"], tree["value"], tree["calls"]))
    assert [value for _, value, _ in path] == [f"{name} (unverified)" for name in (found[0]["session"], upper, lower)]
    assert [calls for _, _, calls in path] == sorted((calls for _, _, calls in path), reverse=True)
    assert path[0][2] == len(calls)
    of_lower = sum(labels.get("sub_agent") == lower for labels in found)
    assert path[2] == ("sub_agent", f"{lower} (unverified)", of_lower)
    assert f"sub-agent {lower} (unverified): {of_lower} calls" in shown


SPOKEN = {"gemini": "gemini", "openai": "openai.responses", "anthropic": "anthropic", "bedrock": "invoke"}


@pytest.mark.parametrize(("group", "name", "mode"), [session for session in SESSIONS if AGENTS[session[1]].upstream])
def test_an_agent_works_with_the_model_of_another_provider(run_group, group, name, mode):
    events = run_group(group)["sessions"][f"{name}-{mode}"]["events"]
    sent = [event for event in events if (event["outcome"], event["status"]) != ELSEWHERE]
    calls = [event for event in sent if event["requested_model"]]
    upstream = AGENTS[name].upstream
    assert len(calls) >= 3
    assert {event["model"] for event in calls} == {TRANSLATED[upstream]}
    assert {event["translation"].partition(">")[2] for event in calls} == {SPOKEN[upstream]}


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_no_request_goes_past_wirekey(run_group, group):
    assert run_group(group)["past"] == []


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_a_request_past_wirekey_would_be_seen(run_group, group):
    assert set(run_group(group)["control"]) == {"name past.example", "connection 192.0.2.1:443"}
