"""The trees of runs and sessions: which calls they have, and in which order of parents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.postgres_server import database, postgres
from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit.filters import first_id_at
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import Outcome, new_call_id
from wirekey.core.labels import checked
from wirekey.features.console.trees import DEEPEST, Root, calls_of, trees_in

__all__ = ["database", "postgres"]


def call(run=None, session=None, sub_agent=None, parent=None, agent="alice", **more):
    """A call with labels: the run is verified, the others are what the client says."""
    names = {"session": session, "sub_agent": sub_agent, "parent_agent": parent}
    unverified = checked([(name, value) for name, value in names.items() if value])
    return call_of(agent=agent, labels=(("run", run),) if run else (), header_labels=unverified, **more)


async def record(audit, *calls):
    store = AuditStore(audit)
    store.start()
    for each in calls:
        if each.outcome is None:
            await store.record_intent(each)
        else:
            store.record_final(each)
    await store.close()


@pytest.fixture(params=["file", "PostgreSQL"])
def audit(request, tmp_path):
    if request.param == "file":
        return SqliteAudit(tmp_path / "audit.db")
    from wirekey.features.postgresql.database import PostgresDatabase

    return PostgresDatabase(request.getfixturevalue("database"), tmp_path)


def drawn(audit, *runs):
    roots = [Root("run", name, "alice", started) for name, started in runs]
    with audit.reading() as database:
        return trees_in(database, [{"run": name} for name, _ in runs], roots)


def outline(node):
    return (node["value"], node["calls"], [outline(each) for each in node["nodes"]])


LONG_AGO = datetime.fromtimestamp(0, UTC)


async def test_a_run_has_sessions_with_their_sub_agents(audit):
    await record(
        audit,
        finish(call("nightly")),
        finish(call("nightly", "s1")),
        finish(call("nightly", "s1", "a1")),
        finish(call("nightly", "s1", "a2", "a1"), cost_usd=0.5),
        call("nightly", "s1", "a2", "a1", model="gpt-5"),
        finish(call("nightly", "s1", "a3", "elsewhere"), outcome=Outcome.DENIED, cost_usd=None, usage=None),
        finish(call("nightly", "s2", "a1"), outcome=Outcome.UPSTREAM_ERROR),
        finish(call("other", "s1")),
    )
    (tree,) = drawn(audit, ("nightly", LONG_AGO))
    mark = " (unverified)"
    sub_agents = [(f"a3{mark}", 1, []), (f"a1{mark}", 3, [(f"a2{mark}", 2, [])])]
    found = outline(tree)
    assert found[:2] == ("nightly", 7)
    assert sorted(found[2]) == [(f"s1{mark}", 5, found[2][1][2]), (f"s2{mark}", 1, [(f"a1{mark}", 1, [])])]
    assert sorted(found[2][1][2]) == sorted(sub_agents)
    sums = {name: tree[name] for name in ("refused", "failed", "in_progress", "input_tokens", "output_tokens")}
    assert sums == {"refused": 1, "failed": 1, "in_progress": 1, "input_tokens": 50, "output_tokens": 100}
    assert (tree["cost_usd"], tree["models"], tree["run"]) == (1.5, ["gpt-4o-mini", "gpt-5"], {"run": "nightly"})
    assert 0 < tree["first"] <= tree["last"]


async def test_a_session_without_a_run_is_a_tree_of_its_agent_alone(audit):
    await record(
        audit,
        finish(call(session="s1")),
        finish(call(session="s1", sub_agent="a1")),
        finish(call(session="s1", agent="bob")),
        finish(call("nightly", "s1")),
        finish(call()),
    )
    trees = {tree["agent"]: outline(tree) for tree in drawn(audit)}
    mark = " (unverified)"
    assert trees == {"alice": (f"s1{mark}", 2, [(f"a1{mark}", 1, [])]), "bob": (f"s1{mark}", 1, [])}


async def test_calls_of_an_earlier_run_of_the_same_name_are_not_in_the_tree(audit):
    now = datetime.now(UTC)
    earlier = first_id_at(now.timestamp() - 60) + new_call_id()[13:]
    await record(audit, finish(call("nightly", id=earlier)), finish(call("nightly")))
    (tree,) = drawn(audit, ("nightly", now - timedelta(seconds=30)))
    assert tree["calls"] == 1


async def test_parents_in_a_circle_or_a_long_chain_do_not_nest_without_end(tmp_path):
    audit = SqliteAudit(tmp_path / "audit.db")
    chain = [finish(call(None, "s1", f"a{number}", f"a{number + 1}")) for number in range(200)]
    await record(audit, *chain, finish(call(None, "s1", "b1", "b2")), finish(call(None, "s1", "b2", "b1")))

    def depth(node):
        return 1 + max(map(depth, node["nodes"]), default=0)

    (tree,) = drawn(audit)
    assert tree["calls"] == 202
    assert 2 < depth(tree) <= DEEPEST + 2


async def test_the_calls_of_a_tree_are_found_by_an_index(tmp_path):
    audit = SqliteAudit(tmp_path / "audit.db")
    await record(audit, finish(call("nightly", "s1")))
    with audit.reading() as database:
        for label in ("run", "session"):
            statement = calls_of(0, Root(label, "x", "alice"), database.dialect)
            values = ["x", "", "alice"][: statement.count("?")]
            plan = database.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            assert f"calls_by_{label}" in str(plan)
            assert "TEMP B-TREE" not in str(plan)
