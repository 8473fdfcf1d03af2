"""`audit verify` finds each change of a record, and names the first event that is not as it was stored."""

import asyncio
import contextlib
import json
import sqlite3
import time

import pytest
from tests.support.recorded_calls import call_of, finish

from wirekey.core.audit import checkpoints, schema
from wirekey.core.audit.chain import LastLink, Link, links_of
from wirekey.core.audit.checkpoints import CheckpointKey, CheckpointsError
from wirekey.core.audit.event import NAMES, OUTCOME_NAMES, rfc3339
from wirekey.core.audit.reading import event_from
from wirekey.core.audit.rows import Rows
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.audit.verifying import Findings, verify
from wirekey.core.call import AttemptRecord, Outcome

KEY = CheckpointKey(bytes(range(32)))
FAILED = AttemptRecord("api.openai.com", "openai/1", None, "gpt-4o", "status", 429, 12.5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.db"


def store_of(path, **more):
    store = AuditStore(SqliteAudit(path, **more), key=KEY)
    store.start()
    return store


async def record(path, **more):
    """Record a denied call, three that end in another order, one with two attempts, and one that is cut off."""
    store = store_of(path, **more)
    denied = call_of(agent="mallory", outcome=Outcome.DENIED)
    store.record_final(denied)
    await settled(store)
    calls = [call_of() for _ in range(3)]
    for call in calls:
        await store.record_intent(call)
    for call in reversed(calls):
        store.record_outcome(finish(call, duration_ms=50))
        await settled(store)
    retried = call_of(credential="openai/2")
    await store.record_intent(retried)
    store.record_outcome(finish(retried, attempts=2, failed_attempts=(FAILED,), attempt_began=time.perf_counter()))
    await settled(store)
    killed = call_of(agent="killed")
    await store.record_intent(killed)
    await store.close()
    return [call.id for call in (denied, *calls, retried, killed)]


async def settled(store):
    """Wait until everything is written, so that the links are in this order."""
    while store.waiting:
        await asyncio.sleep(0.002)


@pytest.fixture
async def recorded(path):
    return await record(path)


def verified(path, *files, since=None, key=KEY):
    with SqliteAudit(path).reading() as database:
        findings = Findings()
        verify(findings, *database.chains(), files, {key.id: key.public}, since=since)
    return findings


def changed(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement, *values in statements:
            database.execute(statement, values)
        database.commit()


def first(found):
    return next((problem.kind, problem.id) for problem in found.problems)


def test_a_record_that_nobody_changed_has_no_problem(path, recorded):
    found = verified(path)
    assert found.problems == []
    assert (found.links, found.checkpoints) == (10, 2)


async def test_a_chain_goes_on_over_restarts_and_recovery(path, recorded):
    await record(path)
    found = verified(path)
    assert found.problems == []
    assert found.links == 10 + 1 + 10
    assert found.checkpoints == 3


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize(
    "change", ["agent_id = 'bob'", "outcome = 'timeout'", "model = 'gpt-4'", "path = NULL", "input_tokens = 1000"]
)
def test_an_edited_event_is_named(path, recorded, place, change):
    before = rows(path)[recorded[place]]
    changed(path, (f"UPDATE calls SET {change} WHERE id = ?", recorded[place]))
    in_progress = recorded[place] == recorded[-1]
    if before == rows(path)[recorded[place]] or (in_progress and change.startswith(("model", "input"))):
        return  # what the intent of a call in progress does not cover
    assert first(verified(path)) == ("edited", recorded[place])


def rows(path):
    with contextlib.closing(schema.open_for_reading(path)) as database:
        return {row[0]: event_from(row) for row in database.execute("SELECT * FROM calls")}


@pytest.mark.parametrize(
    "change", ["SET failure = NULL WHERE number = 1", "SET credential = 'openai/9' WHERE number = 2"]
)
def test_an_edited_attempt_is_named(path, recorded, change):
    changed(path, (f"UPDATE attempts {change}",))
    assert first(verified(path)) == ("edited", recorded[4])


def test_a_removed_attempt_is_named(path, recorded):
    changed(path, ("DELETE FROM attempts WHERE number = 2",))
    assert first(verified(path)) == ("edited", recorded[4])


@pytest.mark.parametrize("place", range(6))
def test_a_removed_event_is_named(path, recorded, place):
    changed(path, ("DELETE FROM calls WHERE id = ?", recorded[place]))
    assert first(verified(path)) == ("removed", recorded[place])


@pytest.mark.parametrize("place", range(5))
def test_an_event_removed_with_its_links_is_noticed_at_the_next_one(path, recorded, place):
    changed(
        path, ("DELETE FROM calls WHERE id = ?", recorded[place]), ("DELETE FROM chain WHERE id = ?", recorded[place])
    )
    kind, named = first(verified(path))
    assert kind == "removed"
    assert named in recorded


def test_links_that_were_renumbered_after_a_removal_do_not_match(path, recorded):
    changed(
        path,
        ("DELETE FROM calls WHERE id = ?", recorded[0]),
        ("DELETE FROM chain WHERE id = ?", recorded[0]),
        ("UPDATE chain SET seq = seq - 1",),
        ("UPDATE chain_head SET seq = seq - 1",),
    )
    assert first(verified(path)) == ("edited", recorded[1])


def test_an_inserted_event_is_named(path, recorded):
    event = rows(path)[recorded[1]] | {"id": recorded[1][:-4] + "ffff"}
    changed(path, (f"INSERT INTO calls VALUES ({', '.join('?' * len(NAMES))})", *event.values()))
    assert first(verified(path)) == ("inserted", event["id"])


def test_reordered_events_are_named(path, recorded):
    changed(
        path,
        ("UPDATE chain SET seq = -seq WHERE seq IN (2, 3)",),
        ("UPDATE chain SET seq = 5 + seq WHERE seq < 0",),
    )
    kind, named = first(verified(path))
    assert (kind, named) == ("edited", recorded[2])


def cut(path, last):
    """Remove all links after `last`, as somebody would who knows the tables."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        gone = [row[0] for row in database.execute("SELECT id FROM chain WHERE seq > ?", [last])]
        database.execute("DELETE FROM chain WHERE seq > ?", [last])
        kept = {row[0] for row in database.execute("SELECT id FROM chain")}
        database.executemany("DELETE FROM calls WHERE id = ?", [[one] for one in gone if one not in kept])
        database.execute("UPDATE chain_head SET (seq, hash) = (SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1)")
        database.commit()


def test_an_end_that_was_cut_off_is_found_with_the_checkpoint_in_the_file(path, recorded):
    cut(path, 7)
    assert "cut_off" in {one.kind for one in verified(path).problems}


async def test_an_end_that_was_cut_off_with_its_checkpoints_is_found_with_a_file_outside(path, tmp_path):
    outside = tmp_path / "checkpoints.jsonl"
    await record(path, checkpoints_to=outside)
    cut(path, 9)  # between the steps of two calls: nothing in the file shows it
    changed(path, ("DELETE FROM checkpoints WHERE seq > 0",))
    assert verified(path).problems == []
    found = verified(path, *checkpoints.read(outside))
    assert [one.kind for one in found.problems] == ["removed", "cut_off"]
    assert "it had 10 links" in found.problems[1].text


def forge(path, call_id):
    """Change an event and write the whole chain again, as somebody would who knows the code but has no key."""
    changed(path, ("UPDATE calls SET agent_id = 'bob' WHERE id = ?", call_id))
    events = rows(path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        head, attempts = LastLink(), database.execute("SELECT * FROM attempts ORDER BY call_id, number").fetchall()
        for _, kind, one, _ in database.execute("SELECT * FROM chain ORDER BY seq").fetchall():
            event = events[one]
            row = tuple(event.values())
            outcome = (event["model"], *(event[name] for name in OUTCOME_NAMES), one)
            step = {
                "intent": Rows(intents=[row]),
                "outcome": Rows(outcomes=[outcome], attempts=[tried for tried in attempts if tried[0] == one]),
                "final": Rows(finals=[row]),
            }[kind]
            [link], head = links_of(step, head)
            database.execute("UPDATE chain SET hash = ? WHERE seq = ?", [link.hash, link.seq])
        database.execute("UPDATE chain_head SET hash = ?", [head.hash])
        database.commit()


def test_a_chain_that_was_written_again_contradicts_its_checkpoint(path, recorded):
    forge(path, recorded[1])
    found = verified(path)
    assert [one.kind for one in found.problems] == ["edited"]
    assert "written again" in found.problems[0].text


def test_a_forged_checkpoint_does_not_count(path, recorded):
    forge(path, recorded[1])
    with contextlib.closing(sqlite3.connect(path)) as database:
        last = database.execute("SELECT hash FROM chain ORDER BY seq DESC LIMIT 1").fetchone()[0].hex()
        (document,) = database.execute("SELECT document FROM checkpoints WHERE seq = 10").fetchone()
        database.execute(
            "UPDATE checkpoints SET document = ? WHERE seq = 10", [json.dumps(json.loads(document) | {"hash": last})]
        )
        database.commit()
    assert first(verified(path)) == ("checkpoint", None)


def test_checkpoints_of_another_key_do_not_count(path, recorded):
    found = verified(path, key=CheckpointKey(bytes(32)))
    assert {one.kind for one in found.problems} == {"checkpoint"}
    assert "unknown key" in found.problems[0].text


def test_a_file_that_was_replaced_by_a_new_one_has_another_chain(path, recorded, tmp_path):
    with SqliteAudit(path).reading() as database:
        chain = database.chains()[0].chain
    path.unlink()
    asyncio.run(store_of(path).close())
    with SqliteAudit(path).reading() as database:
        assert database.chains()[0].chain != chain


def test_since_begins_at_the_last_checkpoint_before(path, recorded):
    time.sleep(0.01)
    between = rfc3339(time.time())
    later = asyncio.run(record(path))
    found = verified(path, since=between)
    assert found.problems == []
    assert found.links == 11
    changed(path, ("UPDATE calls SET agent_id = 'bob' WHERE id = ?", later[1]))
    assert first(verified(path, since=between)) == ("edited", later[1])
    changed(path, ("DELETE FROM chain WHERE id = ?", later[0]))
    assert "inserted" in {one.kind for one in verified(path, since=between).problems}


async def test_a_call_abandoned_while_its_intent_was_written_is_verified(path):
    store = store_of(path)
    call = call_of()
    waiting = asyncio.create_task(store.record_intent(call))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    waiting.cancel()
    call.outcome = Outcome.CLIENT_CANCELLED
    store.record_final(call)
    await store.close()
    assert verified(path).problems == []


async def test_an_end_whose_record_was_removed_is_counted_as_lost(path, recorded):
    store = store_of(path)
    call, other = call_of(), call_of()
    await store.record_intent(call)
    await store.record_intent(other)
    changed(path, ("DELETE FROM calls WHERE id = ?", call.id))
    store.record_outcome(finish(call))
    store.record_outcome(finish(other))
    await store.close()
    assert store.lost == 1
    assert rows(path)[other.id]["outcome"] == "completed"
    assert first(verified(path)) == ("removed", call.id)


async def test_events_from_before_the_chain_are_counted(path, recorded):
    changed(path, ("DELETE FROM chain",), ("DELETE FROM chain_head",), ("DELETE FROM checkpoints",))
    await record(path)
    found = verified(path)
    assert found.problems == []
    older = f"'{recorded[0][:-4]}ffff', {', '.join(NAMES[1:])}"
    changed(path, (f"INSERT INTO calls SELECT {older} FROM calls LIMIT 1",))
    assert first(verified(path)) == ("inserted", None)


def test_each_value_of_a_row_comes_back_as_it_was_hashed(path):
    """Numbers that databases like to change: whole floats, negative zero, large integers, booleans."""
    call = call_of(cost_usd=0.1 + 0.2)
    store = store_of(path)
    asyncio.run(store.record_intent(call))
    store.record_outcome(
        finish(call, duration_ms=7, ttfb_ms=-0.0, cost_usd=1e-300, request_bytes=2**63 + 5, simulated=True)
    )
    asyncio.run(store.close())
    assert verified(path).problems == []


def test_checkpoints_are_found_in_the_log(tmp_path):
    point = KEY.signed(checkpoints.Checkpoint(chain="c", seq=1, hash="0" * 64, time="t", reason="stop"))
    log = tmp_path / "log"
    line = f"audit checkpoint {point.document()}"
    log.write_text(
        f"12:00:00 [info] another line\n12:00:01 [info] {line} \n{json.dumps({'event': line, 'level': 'info'})}\n"
    )
    assert checkpoints.read(log) == [point, point]
    log.write_text('{"chains": 1}\n{"chain":1}\n')
    with pytest.raises(CheckpointsError, match="log:2 is not a checkpoint"):
        checkpoints.read(log)


def test_a_link_depends_on_all_before_it():
    call = call_of()
    row = (call.id, *[None] * (len(NAMES) - 1))
    [one], _ = links_of(Rows(finals=[row]), LastLink())
    [other], _ = links_of(Rows(finals=[row]), LastLink(0, bytes([1] * 32)))
    assert isinstance(one, Link)
    assert one.hash != other.hash
