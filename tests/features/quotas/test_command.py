"""The output of wirekey usage for people and programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from tests.support.recorded_calls import call_of, finish
from wirekey.cli.main import group
from wirekey.core.audit.event import event_of
from wirekey.core.audit.schema import INSERT, open_for_writing
from wirekey.features.quotas.ledger import Ledger
from wirekey.features.quotas.periods import UTC_CALENDAR

CONFIGURATION = """
quotas:
  - {name: rates, per: agent, requests_per_minute: 600, concurrent: 4}
  - {name: daily, per: agent, usd_per_day: 2, usd_per_month: 20}
  - {name: company, per: all, usd_per_month: 1000}
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(group, ["usage", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "wirekey.yaml").write_text(CONFIGURATION)
    return tmp_path


@pytest.fixture
def used(folder):
    """A folder in which alice and bob have called."""
    now = datetime.now(UTC).timestamp()
    day, month = (UTC_CALENDAR.period(window, now) for window in ("day", "month"))
    ledger = Ledger(folder / "state" / "quotas.db")
    ledger.add(f"quota:daily:usd_per_day:{day.label}:alice", 1_500_000_000, day.end)
    ledger.add(f"quota:daily:usd_per_month:{month.label}:alice", 5_000_000_000, month.end)
    ledger.add(f"quota:company:usd_per_month:{month.label}:_ALL", 5_250_000_000, month.end)
    ledger.add(f"quota:removed:usd_per_month:{month.label}:alice", 1, month.end)
    ledger.add("quota:daily:usd_per_day:2020-01-01:alice", 1, day.end)
    ledger.close()
    database = open_for_writing(folder / "state" / "audit.db", "commit", 1)
    calls = [finish(call_of()), finish(call_of()), finish(call_of(agent="bob"))]
    database.executemany(INSERT, [tuple(event_of(call).values()) for call in calls])
    database.close()
    return folder


def test_budgets_are_listed_with_the_fullest_first(used):
    lines = [line.split() for line in run("--since", "1h").splitlines()]
    assert lines[0] == ["QUOTA", "PER", "OF", "LIMIT", "USED", "ALLOWED", "LEFT", "UNTIL"]
    assert [line[:7] for line in lines[1:4]] == [
        ["daily", "agent", "alice", "usd_per_day", "$1.50", "$2.00", "25%"],
        ["daily", "agent", "alice", "usd_per_month", "$5.00", "$20.00", "75%"],
        ["company", "all", "_ALL", "usd_per_month", "$5.25", "$1000.00", "99%"],
    ]
    assert lines[4] == []


def test_the_cost_of_calls_is_summed_up_per_agent_or_model(used):
    per_agent = run("--since", "1h").splitlines()[6:]
    assert per_agent[0].split() == ["AGENT", "CALLS", "DENIED", "IN", "OUT", "COST", "$"]
    assert [line.split()[:2] for line in per_agent[1:]] == [["alice", "2"], ["bob", "1"]]
    assert run("--since", "1h", "--per", "all").splitlines()[-1].split()[:2] == ["all", "3"]
    assert run("--since", "1h", "--per", "provider").splitlines()[-1].split()[:2] == ["openai", "3"]


@pytest.mark.parametrize("per", ["agent", "role", "type", "model", "provider", "all"])
def test_programs_get_the_same_as_json(used, per):
    found = json.loads(run("--since", "1h", "--per", per, "--json"))
    assert found["quotas"][0] == {"name": "rates", "per": "agent", "requests_per_minute": 600, "concurrent": 4}
    assert found["quotas"][1] == {"name": "daily", "per": "agent", "usd_per_day": 2.0, "usd_per_month": 20.0}
    fullest = found["budgets"][0]
    assert (fullest["quota"], fullest["subject"], fullest["limit"]) == ("daily", "alice", "usd_per_day")
    assert (fullest["spent_usd"], fullest["allowed_usd"], fullest["remaining_usd"]) == (1.5, 2.0, 0.5)
    assert found["per"] == per
    assert sum(entry["calls"] for entry in found["spend"]) == 3


def test_before_the_first_call_nothing_is_spent(folder):
    output = run()
    assert output.startswith("Nothing is spent of any budget.\n")
    assert output.endswith("No calls.\n")


def test_without_quotas_the_setting_is_named(folder):
    (folder / "wirekey.yaml").write_text("{}")
    assert run().startswith("There are no quotas. Set them in the configuration: quotas.\n")
