"""Runs as they are stored with their agents: their tokens, their limits and their end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import UNSET

from wirekey.core.call import Agent
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.agents_format import AgentError, decode
from wirekey.core.identity.proof import Proof, proven_agent
from wirekey.core.identity.run_changes import remembered
from wirekey.core.identity.runs import LONGEST, MOST, LimitChange, RunError, RunRecord, changed
from wirekey.core.identity.stored_runs import NewRun, StoredRuns
from wirekey.core.identity.tokens import token_digest

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN = RunRecord(name="nightly", token="0" * 12, created=START, budget=5_000, ends_at=START + timedelta(minutes=30))


@pytest.fixture
def agents(tmp_path):
    store = AgentStore(tmp_path / "agents.json")
    store.add("alice", role="senior")
    store.add("bob")
    return store


@pytest.fixture
def runs(agents):
    return StoredRuns(agents)


@pytest.mark.parametrize(
    ("limits", "seconds", "values"),
    [
        ({"budget": LimitChange(7)}, None, {"budget": 7}),
        ({"budget": LimitChange(7, is_added=True)}, None, {"budget": 5_007}),
        ({"calls": LimitChange(9)}, None, {"budget": 5_000, "calls": 9, "tokens": UNSET}),
        ({}, LimitChange(60), {"ends_at": START + timedelta(minutes=1)}),
        ({}, LimitChange(60, is_added=True), {"ends_at": START + timedelta(minutes=31)}),
        ({}, LimitChange(round(LONGEST.total_seconds())), {"ends_at": RUN.last_moment}),
    ],
)
def test_a_limit_is_set_or_added_to(limits, seconds, values):
    found = changed(RUN, limits, seconds)
    assert {name: getattr(found, name) for name in values} == values
    assert (found.name, found.token, found.created) == (RUN.name, RUN.token, RUN.created)


@pytest.mark.parametrize(
    ("limits", "seconds", "reason"),
    [
        ({"calls": LimitChange(1, is_added=True)}, None, "it has no limit of calls"),
        ({"budget": LimitChange(MOST, is_added=True)}, None, "the limit of dollars is too large"),
        ({}, LimitChange(round(LONGEST.total_seconds()), is_added=True), "a run lasts at most 30 days"),
        ({}, LimitChange(10**18), "a run lasts at most 30 days"),
    ],
)
def test_a_change_that_is_not_possible_says_why(limits, seconds, reason):
    with pytest.raises(RunError, match=reason):
        changed(RUN, limits, seconds)


def test_time_is_not_added_to_a_run_without_a_limit_of_its_time(agents, runs):
    runs.start("alice", NewRun("nightly", calls=5), lifetime=60)
    before = agents.runs["nightly"]
    with pytest.raises(AgentError, match="The run nightly is not extended: its time has no limit"):
        runs.extend("nightly", {"calls": LimitChange(9)}, LimitChange(60, is_added=True))
    assert agents.runs["nightly"] == before
    runs.extend("nightly", {"calls": LimitChange(9)}, LimitChange(60))
    assert agents.runs["nightly"].ends_at == before.created + timedelta(seconds=60)


def test_the_token_of_a_run_is_that_of_its_agent_with_the_run(agents, runs):
    token = runs.start("alice", NewRun("nightly", budget=5), lifetime=60)
    assert agents.find(token) == Agent("alice", "senior", run="nightly", labels=(("run", "nightly"),))
    assert agents.runs["nightly"].budget == 5
    assert runs.find("nightly").is_live
    assert token not in agents.path.read_text()


def test_the_token_ends_with_the_run_and_the_record_stays(agents, runs):
    token = runs.start("alice", NewRun("nightly"), lifetime=60)
    runs.end("nightly")
    assert agents.find(token) is None
    assert agents.runs == {}
    (stored,) = runs.all()
    assert not stored.is_live
    assert stored.record.ended_at is not UNSET
    with pytest.raises(AgentError, match="has ended"):
        runs.extend("nightly", {"budget": LimitChange(1)}, None)


def test_an_extended_run_keeps_its_token_and_its_identity(agents, runs):
    token = runs.start("alice", NewRun("nightly", budget=5), lifetime=60)
    before = agents.find(token)
    runs.extend("nightly", {"budget": LimitChange(1, is_added=True)}, None)
    assert agents.find(token) == before  # a call that is being decided continues
    assert agents.runs["nightly"].budget == 6


def test_the_run_is_a_verified_label_that_nothing_else_sets(agents, runs):
    agents.change("alice", labels={"team": "search", "run": "mine"})
    token = runs.start("alice", NewRun("nightly"), lifetime=60)
    assert agents.find(token).labels == (("run", "nightly"), ("team", "search"))
    assert proven_agent(Proof((token_digest(token),)), agents, 0.0).labels == agents.find(token).labels


@pytest.mark.parametrize("name", ["-nightly", ".nightly", "_nightly", "wk_12345678", "a" * 65, ""])
def test_a_name_that_is_no_label_is_refused(runs, name):
    with pytest.raises(AgentError, match="is not a valid"):
        runs.start("alice", NewRun(name), lifetime=60)


@pytest.mark.parametrize("agent", ["alice", "bob"])
def test_two_runs_at_the_same_time_have_different_names(runs, agent):
    runs.start("alice", NewRun("nightly"), lifetime=60)
    with pytest.raises(AgentError, match="has not ended"):
        runs.start(agent, NewRun("nightly"), lifetime=60)


def test_a_new_run_of_the_same_name_has_nothing_of_the_earlier_one(agents, runs):
    """The token of an `exec` that was killed has expired, and could be renewed."""
    killed = runs.start("alice", NewRun("nightly", budget=5), lifetime=-1, renewable=3600)
    latest = runs.start("bob", NewRun("nightly", budget=7), lifetime=60)
    with pytest.raises(AgentError):
        agents.renew_token("alice", killed, 60)
    assert agents.find(killed) is None
    assert agents.find(latest).id == "bob"
    assert [(run.agent, run.record.budget) for run in runs.all()] == [("bob", 7)]
    runs.end("nightly", killed)
    assert agents.find(latest).id == "bob"


@pytest.mark.parametrize("end", ["revoke", "suspend", "rotate", "drop_token"])
def test_a_run_ends_with_its_agent(agents, runs, end):
    token = runs.start("alice", NewRun("nightly"), lifetime=60)
    {
        "revoke": lambda: agents.revoke("alice"),
        "suspend": lambda: agents.change("alice", suspended=True),
        "rotate": lambda: agents.rotate("alice"),
        "drop_token": lambda: agents.drop_token("alice", token),
    }[end]()
    assert agents.find(token) is None
    assert agents.runs == {}
    assert not runs.find("nightly").is_live


def test_a_token_whose_run_is_not_stored_is_unknown(agents, runs):
    token = runs.start("alice", NewRun("nightly"), lifetime=60)
    records = decode(agents.path.read_bytes())
    agents.apply(lambda _, __: records.with_agent(_without_runs(records.agent("alice"))))
    assert agents.find(token) is None


def _without_runs(agent):
    from msgspec.structs import replace

    return replace(agent, runs=())


def test_no_second_token_takes_a_call_out_of_its_run(agents, runs):
    token = runs.start("alice", NewRun("nightly"), lifetime=60)
    other = agents.issue_token("alice", "other", 60)
    pair = agents.pair("alice")
    in_run, outside = token_digest(token), token_digest(other)
    for proof in (Proof((outside, in_run)), Proof((in_run, outside)), Proof((in_run,), pair.access_key)):
        found = proven_agent(proof, agents, 0.0)
        assert (found.run, found.labels) == ("nightly", (("run", "nightly"),)), proof
    assert proven_agent(Proof((outside,), pair.access_key), agents, 0.0).run is None


def test_few_ended_runs_are_kept(runs):
    for number in range(60):
        runs.start("alice", NewRun(f"run-{number}"), lifetime=60)
        runs.end(f"run-{number}")
    runs.start("alice", NewRun("latest"), lifetime=60)
    names = [run.record.name for run in runs.all()]
    assert len(names) == 51
    assert {"latest", "run-59"} <= set(names)


def test_an_unknown_run_is_named(runs):
    with pytest.raises(AgentError, match="There is no run 'nightly'"):
        runs.find("nightly")
    with pytest.raises(AgentError, match="is not a valid"):
        runs.start("alice", NewRun("a b"), lifetime=60)


def test_runs_that_ended_are_remembered_for_a_while_and_live_ones_always(agents, runs):
    runs.start("alice", NewRun("live"), lifetime=10 * 86_400 * 365)
    runs.start("alice", NewRun("ended"), lifetime=3600)
    runs.end("ended")
    record = agents.agent("alice")
    names = {
        days: [run.name for run in remembered(record, datetime.now(UTC) + timedelta(days=days))]
        for days in (0, 3650 - 60)
    }
    assert names == {0: ["live", "ended"], 3650 - 60: ["live"]}
