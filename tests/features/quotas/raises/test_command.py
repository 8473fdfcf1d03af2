"""wirekey quotas: what it stores and prints, and what it refuses."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from wirekey.cli.main import group
from wirekey.core.errors import UserError
from wirekey.features.quotas.ledger import Ledger
from wirekey.features.quotas.periods import UTC_CALENDAR
from wirekey.features.quotas.raises import command
from wirekey.features.quotas.raises.command import user_name
from wirekey.features.quotas.raises.stored import FILE

CONFIGURATION = """
quotas:
  - {name: daily, per: agent, usd_per_day: 20, overrides: {alice: {usd_per_day: 80}}}
  - {name: company, per: all, usd_per_month: 1000, tokens_per_week: 5000000}
  - {name: rates, per: agent, requests_per_minute: 60}
"""
BASICS = ("--until", "2h", "--why", "The release.")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "wirekey.yaml").write_text(CONFIGURATION)
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def failure(*arguments: str) -> str:
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code
    return str(result.exception) if isinstance(result.exception, UserError) else result.output


def test_a_raise_is_listed_and_shown_with_what_is_used_until_it_is_lowered(folder):
    day = UTC_CALENDAR.period("day", datetime.now(UTC).timestamp())
    ledger = Ledger(folder / "state" / "quotas.db")
    ledger.add(f"quota:daily:usd_per_day:{day.label}:alice", 90_000_000_000, day.end)
    ledger.close()
    output = run("quotas", "raise", "daily", "alice", "--usd", "20", *BASICS)
    assert output.startswith("Raised daily for alice by $20.00 until 20")
    assert (folder / "state" / FILE).stat().st_mode & 0o777 == 0o600
    listed = run("quotas", "list")
    assert [line.split()[:3] for line in listed.splitlines()[1:3]] == [
        ["daily", "agent", "usd_per_day"],
        ["daily", "agent", "alice"],
    ]
    assert "Raised: daily for alice by $20.00 until" in listed
    assert listed.rstrip().endswith(": The release.")
    used = run("usage")
    assert "$90.00  $100.00   10%" in used
    assert "Raised: daily for alice by $20.00" in used
    assert run("quotas", "lower", "daily").startswith("Ended the raise of daily for alice by $20.00")
    assert "Raised:" not in run("quotas", "list")
    assert "$80.00    0%" in run("usage")


def test_programs_get_raises_as_json():
    found = json.loads(run("quotas", "raise", "company", "--usd", "0.5", "--tokens", "2M", *BASICS, "--json"))
    assert (found["quota"], found["subject"], found["usd"], found["tokens"]) == ("company", None, 0.5, 2_000_000)
    listed = json.loads(run("quotas", "list", "--json"))
    assert listed["raises"] == [found]
    assert listed["quotas"][0] == {
        "name": "daily",
        "per": "agent",
        "limits": {"usd_per_day": 20},
        "overrides": {"alice": {"usd_per_day": 80}},
    }
    assert [each["quota"] for each in json.loads(run("quotas", "lower", "company", "--json"))] == ["company"]


def test_only_the_raises_of_the_quota_and_the_subject_are_lowered():
    for subject in ("alice", "bob"):
        run("quotas", "raise", "daily", subject, "--usd", "5", *BASICS)
    run("quotas", "raise", "company", "--usd", "5", *BASICS)
    run("quotas", "lower", "daily", "alice")
    left = [(each["quota"], each["subject"]) for each in json.loads(run("quotas", "list", "--json"))["raises"]]
    assert sorted(left, key=str) == [("company", None), ("daily", "bob")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("raise", "dayly", "--usd", "5", *BASICS), "There is no quota 'dayly'. Did you mean daily?"),
        (("raise", "daily", *BASICS), "Nothing to raise"),
        (("raise", "daily", "--tokens", "5", *BASICS), "has no total of tokens to raise. Its totals: usd."),
        (("raise", "rates", "--requests", "5", *BASICS), "Its totals: none."),
        (("raise", "company", "alice", "--usd", "5", *BASICS), "has no subject 'alice'"),
        (("raise", "daily", "--usd", "5", "--until", "2020-01-01", "--why", "x"), "must be to come, within 31 days"),
        (("raise", "daily", "--usd", "5", "--until", "40d", "--why", "x"), "must be to come, within 31 days"),
        (("raise", "daily", "--usd", "5", "--until", "soon", "--why", "x"), "is not a time. Write 18:00"),
        (("raise", "daily", "--usd", "5", "--until", "1h", "--why", "a\nb"), "--why must be one line"),
        (("raise", "daily", "--usd", "5", "--until", "1h"), "Missing option '--why'"),
        (("raise", "daily", "--usd", "-5", *BASICS), "is no limit"),
        (("lower", "daily"), "No raise of the quota 'daily' is in force."),
    ],
)
def test_what_is_not_possible_says_why_and_changes_nothing(folder, arguments, words):
    assert words in failure("quotas", *arguments)
    assert not (folder / "state" / FILE).exists()


def test_a_file_that_is_not_valid_is_named(folder):
    (folder / "state" / FILE).write_text("{")
    assert "is not a valid list of raises" in failure("quotas", "list")


def test_a_time_of_the_day_is_the_next_one(monkeypatch):
    option = command.raise_quota.params[-3]
    context = click.Context(command.raise_quota)
    now = datetime.now(UTC)
    for hours in (1, 23):
        local = (now + timedelta(hours=hours)).astimezone().replace(second=0, microsecond=0)
        assert command.end_moment(context, option, f"{local:%H:%M}") == local


def test_a_user_without_a_name_is_recorded_by_number(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert user_name() == "4000000000"
