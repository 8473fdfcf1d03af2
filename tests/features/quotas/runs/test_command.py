"""The commands of runs, for people and programs."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from wirekey.cli.main import group
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.stored_runs import StoredRuns
from wirekey.features.quotas.ledger import Ledger
from wirekey.features.quotas.runs.quota import key_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wirekey.yaml").write_text("state: state\n")
    run("agents", "add", "alice")
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == code, result.output
    return result.output


def token_of(output: str) -> str:
    return re.search(r"wk_[A-Za-z0-9]{43}", output)[0]


def test_a_run_is_started_shown_extended_and_stopped(folder):
    printed = run("runs", "start", "nightly", "--agent", "alice", "--budget", "5", "--calls", "200", "--tokens", "2M")
    agents = AgentStore(folder / "state" / "agents.json")
    assert agents.find(token_of(printed)).run == "nightly"
    record = agents.runs["nightly"]
    assert (record.budget, record.calls, record.tokens) == (5 * 10**9, 200, 2_000_000)
    ledger = Ledger(folder / "state" / "quotas.db")
    ledger.add(key_of(record, "usd"), 1_250_000_000, 2e9)
    ledger.add(key_of(record, "calls"), 12, 2e9)
    ledger.close()
    shown = dict(line.split(None, 1) for line in run("runs", "show", "nightly").splitlines())
    assert shown["spent"] == "$1.25 of $5.00"
    assert (shown["calls"], shown["tokens"], shown["state"]) == ("12 of 200", "0 of 2,000,000", "open")
    run("runs", "extend", "nightly", "--budget", "+2.5", "--calls", "12", "--for", "30m")
    facts = json.loads(run("runs", "show", "nightly", "--json"))
    assert (facts["budget_usd"], facts["spent_usd"], facts["most_calls"], facts["calls"]) == (7.5, 1.25, 12, 12)
    assert facts["state"] == "spent"
    assert run("runs", "list").rstrip().endswith("spent")
    run("runs", "stop", "nightly")
    agents.refresh()
    assert agents.find(token_of(printed)) is None
    assert "There are no runs" in run("runs", "list")
    assert json.loads(run("runs", "list", "--all", "--json"))[0]["state"] == "ended"
    assert "has ended" in run("runs", "extend", "nightly", "--budget", "+1", code=1)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--budget", "five", "is no limit. Write 5 or 0.05"),
        ("--budget", "0", "is out of range"),
        ("--budget", "2000000", "is out of range. A run has at most $1,125,899"),
        ("--budget", "+5", "is no limit"),
        ("--calls", "1e9", "is no limit. Write 200, 50k or 2M"),
        ("--tokens", "0.0001k", "is out of range"),
        ("--for", "31d", "is out of range. A run has at most 30 days"),
    ],
)
def test_a_value_that_is_no_limit_is_refused(folder, option, value, reason):
    assert reason in " ".join(run("runs", "start", "nightly", "--agent", "alice", option, value, code=2).split())
    assert StoredRuns(AgentStore(folder / "state" / "agents.json")).all() == []


def test_an_extension_needs_a_limit(folder):
    run("runs", "start", "nightly", "--agent", "alice", "--calls", "2")
    assert "Nothing to change" in run("runs", "extend", "nightly", code=2)
    assert "it has no limit of dollars" in run("runs", "extend", "nightly", "--budget", "+1", code=1)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("start", "a b", "--agent", "alice"), "is not a valid"),
        (("start", "nightly", "--agent", "bob"), "There is no agent 'bob'"),
        (("show", "nightly"), "There is no run 'nightly'"),
        (("stop", "nightly"), "There is no run 'nightly'"),
    ],
)
def test_errors_name_what_is_missing(folder, words, reason):
    assert reason in run("runs", *words, code=1)
