"""The output of wirekey policy check, eval and replay for people and programs."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.policies import WHOLE, write
from tests.support.recorded_calls import call_of, finish
from wirekey.cli.main import group
from wirekey.core.audit.event import event_of
from wirekey.core.audit.schema import INSERT, open_for_writing
from wirekey.core.call import Agent, Outcome
from wirekey.core.identity.agents import AgentStore
from wirekey.core.operation import Facts
from wirekey.core.policy.decision import parse_decision
from wirekey.core.policy.input import build_input, encode_input
from wirekey.core.policy.modules import read_modules
from wirekey.core.policy.rego import Rego

NO_O3 = 'package wirekey.authz\ndeny contains "o3 is dear" if input.model == "o3"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, code=0, given=None):
    result = CliRunner().invoke(group, ["policy", *arguments], input=given)
    assert result.exit_code == code, result.output
    return result


def record(*calls):
    database = open_for_writing(Path("state").absolute() / "audit.db", "commit", 1)
    database.execute("BEGIN")
    database.executemany(INSERT, [tuple(event_of(call).values()) for call in calls])
    database.execute("COMMIT")
    database.close()


def test_check_prints_the_revision_of_a_policy_without_problems(folder):
    write(folder / "policies", a=NO_O3)
    assert "policies: no problems, revision " in run("check").stdout
    found = json.loads(run("check", "--json").stdout)
    assert (found["ok"], found["problems"], found["query"]) == (True, [], "data.wirekey.authz")
    assert found["revision"] == read_modules(folder / "policies").revision


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("package wirekey.authz\ndeny if {", "a.rego:"),
        (
            "package wirekey.authz\ndeny if input.modle",
            "a.rego:2:9: there is no input.modle. Did you mean input.model?",
        ),
        ("package behavry.authz\ndeny if input.model", "Set policy.query"),
        ("package wirekey.authz\ndeny if http.send({})", "http.send reaches outside"),
    ],
)
def test_check_reports_problems_with_their_place(folder, policy, message):
    write(folder / "mine", a=policy)
    assert message in run("check", "--policy", "mine", code=1).stderr
    found = json.loads(run("check", "--policy", "mine", "--json", code=1).stdout)
    assert not found["ok"]
    assert message.partition(": ")[2] in found["problems"][0]["message"] or message == "a.rego:"


def test_check_uses_the_package_of_the_query(folder):
    write(folder / "policies", a="package behavry.authz\ndeny if input.model")
    run("check", "--query", "data.behavry.authz")


def test_check_reports_a_missing_folder():
    assert "does not exist" in run("check", "--policy", "nowhere", code=1).stderr


@pytest.mark.parametrize("wrapped", [True, False])
def test_eval_prints_the_decision_and_the_matching_rule(folder, wrapped):
    write(folder / "policies", a=NO_O3)
    call = WHOLE | {"model": "o3"}
    (folder / "call.json").write_text(json.dumps({"input": call} if wrapped else call))
    shown = run("eval", "--input", "call.json", code=1).stdout
    assert "deny: o3 is dear" in shown
    assert "a.rego:2: deny contains" in shown
    answer = json.loads(run("eval", "--input", "-", "--json", given=json.dumps({"model": "o1"})).stdout)
    assert (answer["allow"], answer["rules"]) == (True, [])


@pytest.mark.parametrize("given", ["", "[]", "{", "1"])
def test_eval_refuses_an_invalid_input(folder, given):
    write(folder / "policies", a=NO_O3)
    assert "The input is not " in run("eval", "--input", "-", code=2, given=given).stderr


def test_eval_reports_where_a_policy_fails(folder):
    write(folder / "policies", a="package wirekey.authz\ndeny if 1 / input.tool_count == 1")
    assert "a.rego:2:" in run("eval", "--input", "-", code=1, given='{"tool_count": 0}').stderr


def judged(agent, model, result="allow", reason=None):
    call = call_of(agent, facts=Facts(model))
    if result == "deny":
        call.policy_result, call.policy_reason, call.outcome = result, reason, Outcome.DENIED
        return call
    return finish(call)


def test_replay_prints_changed_decisions(folder):
    write(folder / "mine", a=NO_O3)
    record(
        *(judged("alice", "o3") for _ in range(3)),
        judged("bob", "o3"),
        judged("alice", "gpt-4o"),
        judged("bob", "gpt-4o", "deny", "policy_denied: too dear"),
        judged("bob", "o3", "deny", "policy_denied: o3 is dear"),
        judged("eve", "gpt-4o", "deny", "no_agent: who are you?"),
        judged("eve", "gpt-4o", "deny", "missing_permission: web:write"),
    )
    shown = run("replay", "--policy", "mine", code=1).stdout
    rows = [line.split() for line in shown.splitlines()[1:-1]]
    assert rows == [
        ["alice", "o3", "allow", "deny", "3", "o3", "is", "dear"],
        ["bob", "gpt-4o", "deny", "allow", "1"],
        ["bob", "o3", "allow", "deny", "1", "o3", "is", "dear"],
    ]
    assert "7 calls replayed, 5 changed, 2 left out." in shown
    answer = json.loads(run("replay", "--policy", "mine", "--json", code=1).stdout)
    assert answer["changes"][0] == {
        "agent": "alice",
        "model": "o3",
        "then": "allow",
        "now": "deny",
        "reason": "o3 is dear",
        "calls": 3,
    }
    assert "0 calls replayed" in run("replay", "--policy", "mine", "--since", "2099-01-01").stdout


def test_replay_without_changes_exits_with_0(folder):
    write(folder / "policies", a=NO_O3)
    record(judged("alice", "gpt-4o"))
    assert "1 calls replayed, 0 changed" in run("replay").stdout


def test_replay_uses_current_permissions_and_names_unrecorded_fields(folder):
    AgentStore(folder / "state" / "agents.json").add("alice", permissions=("web:read",))
    policy = 'package wirekey.authz\ndeny if not "web:write" in input.agent.permissions\ndeny if "x" in input.tools'
    write(folder / "policies", a=policy)
    record(judged("alice", "o3"), judged("gone", "o3"))
    result = run("replay", "--json", code=1)
    answer = json.loads(result.stdout)
    assert [(change["agent"], change["calls"]) for change in answer["changes"]] == [("alice", 1)]
    assert answer["not_recorded"] == ["tools", "agent.permissions"]


def test_replay_reports_a_missing_audit_file(folder):
    write(folder / "policies", a=NO_O3)
    assert "There is no audit file" in run("replay", code=1).stderr


def test_replay_of_ten_thousand_calls_is_fast_and_equals_the_live_decisions(folder):
    source = 'package wirekey.authz\ndeny contains "x" if { input.max_tokens > 50; not startswith(input.model, "m1") }'
    write(folder / "policies", a=source)
    policy = Rego(read_modules(folder / "policies"), "data.wirekey.authz")
    calls = []
    for number in range(10_000):
        call = call_of(f"a{number % 7}", facts=Facts(f"m{number % 30}", max_tokens=number % 100))
        call.agent = Agent(f"a{number % 7}", "developer", "cli")
        document = json.loads(policy.evaluate(encode_input(build_input(call, {}))))
        live = parse_decision(document, "r", needs_allow=False)
        call.policy_result = "allow" if live.allow else "deny"
        call.policy_reason = None if live.allow else "policy_denied: x"
        calls.append(call)
    assert len({call.policy_result for call in calls}) == 2
    record(*calls)
    began = time.process_time()
    assert "10000 calls replayed, 0 changed, 0 left out." in run("replay").stdout
    assert time.process_time() - began < 30
