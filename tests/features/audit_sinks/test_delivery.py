"""Each event reaches each sink, whatever fails in between, from a file as from PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest

from tests.support.postgres_server import database, postgres
from tests.support.recorded_calls import call_of, finish
from tests.support.running import wait_for
from wirekey.core.audit.audit_log import AuditDatabaseError, AuditUnavailable
from wirekey.core.audit.checkpoints import CheckpointKey
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.features.audit_sinks import delivery, service
from wirekey.features.audit_sinks.service import NO_SINK, NOT_DELIVERED, NOT_YET, PROCESS, AuditSinks
from wirekey.features.audit_sinks.sink import SinkError
from wirekey.features.postgresql.database import PostgresDatabase

__all__ = ["database", "postgres"]


class Receiver:
    """A sink in memory. While `failure` is set, it accepts nothing."""

    place = "memory"

    def __init__(self, most: int = 7, *, confirms: bool = True) -> None:
        self.most, self.linger, self.confirms = most, 0.0, confirms
        self.failure: str | None = None
        self.batches: list[list[str]] = []
        self.checks = 0
        self.hangs = threading.Event()
        self.hangs.set()

    @property
    def received(self) -> list[str]:
        return [call_id for batch in self.batches for call_id in batch]

    def send(self, events) -> None:
        self.hangs.wait()
        if self.failure:
            raise SinkError(self.failure)
        self.batches.append([event["id"] for event in events])

    def check(self) -> None:
        self.checks += 1
        if self.failure:
            raise SinkError(self.failure)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(delivery, "PAUSES", (0.02,))
    monkeypatch.setattr(delivery, "LOOK", 0.02)
    monkeypatch.setattr(service, "TURN", 0.02)


@pytest.fixture(params=["file", "postgresql"])
def audit_log(request, tmp_path):
    if request.param == "file":
        found = SqliteAudit(tmp_path / "state" / "audit.db", bound=60)
    else:
        found = PostgresDatabase(request.getfixturevalue("database"), tmp_path, bound=60)
    record(found, 0)  # creates it, as each start does before there are calls
    return found


def record(audit_log, count: int, **more) -> list[str]:
    """Record calls that end, and return their ids."""

    async def run() -> list[str]:
        store = AuditStore(audit_log)
        store.start()
        calls = [call_of(**more) for _ in range(count)]
        for call in calls:
            await store.record_intent(call)
            store.record_outcome(finish(call))
        await store.close()
        return [call.id for call in calls]

    return asyncio.run(run())


class Store:
    """The part of an audit store that sinks use."""

    also_needs = None


@contextlib.contextmanager
def delivering(audit_log, *, required: bool = False, **receivers: Receiver):
    sinks = AuditSinks(audit_log, receivers, required=required)
    sinks.prepare()
    sinks.start(Store())
    try:
        yield sinks
    finally:
        sinks.close()


def test_each_event_arrives_once_and_in_order(audit_log):
    receiver = Receiver()
    with delivering(audit_log, first=receiver):
        ids = record(audit_log, 50)
        wait_for(lambda: len(receiver.received) >= 50, "the events")
    assert receiver.received == ids
    assert max(map(len, receiver.batches)) <= receiver.most


def test_denied_calls_arrive_and_calls_in_progress_do_not(audit_log):
    async def run() -> str:
        store = AuditStore(audit_log)
        store.start()
        denied = call_of()
        await store.record_intent(call_of())
        store.record_final(finish(denied))
        await store.close()
        return denied.id

    receiver = Receiver()
    with delivering(audit_log, first=receiver):
        denied = asyncio.run(run())
        wait_for(lambda: receiver.received, "the denied call")
    assert receiver.received == [denied]


def test_a_new_sink_gets_nothing_from_before(audit_log):
    record(audit_log, 3)
    receiver = Receiver()
    with delivering(audit_log, first=receiver):
        later = record(audit_log, 2)
        wait_for(lambda: receiver.received, "the events")
    assert receiver.received == later


def test_the_next_process_continues_where_the_last_one_stopped(audit_log):
    first, second, new = Receiver(), Receiver(), Receiver()
    with delivering(audit_log, kept=first):
        early = record(audit_log, 5)
    between = record(audit_log, 4)
    with delivering(audit_log, kept=second, new=new):
        late = record(audit_log, 3)
    assert first.received == early, "what was recorded before the end is delivered at the end"
    assert second.received == between + late
    assert new.received == late


def test_an_older_copy_of_the_log_is_followed_from_its_end(tmp_path):
    path = tmp_path / "state" / "audit.db"
    record(SqliteAudit(path), 2)
    older = path.read_bytes()  # complete: the last process has moved its write-ahead log into the file
    receiver = Receiver()
    with delivering(SqliteAudit(path), first=receiver):
        record(SqliteAudit(path), 5)
    path.write_bytes(older)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    receiver = Receiver()
    with delivering(SqliteAudit(path), first=receiver):
        later = record(SqliteAudit(path), 2)
    assert receiver.received == later


def test_a_failing_sink_gets_everything_later_and_does_not_hold_up_the_others(audit_log, caplog):
    healthy, failing = Receiver(), Receiver()
    failing.failure = "it is full"
    with delivering(audit_log, healthy=healthy, failing=failing) as sinks:
        ids = record(audit_log, 20)
        wait_for(lambda: len(healthy.received) == 20, "the healthy sink")
        state = sinks.deliveries[1].state
        wait_for(lambda: state.failures > 3, "further attempts")
        wait_for(lambda: 20 <= state.waiting <= 40, "all events to wait")
        assert (state.accepts, state.failure) == (False, "it is full")
        failing.failure = None
        wait_for(lambda: len(failing.received) == 20, "the sink that failed")
    assert failing.received == ids
    assert caplog.text.count("does not accept events: it is full") == 1
    assert caplog.text.count("accepts events again") == 1


def test_an_error_of_our_own_is_tried_again_without_its_message(audit_log, caplog):
    receiver = Receiver()
    original = receiver.send

    def send_once_wrong(events) -> None:
        receiver.send = original
        raise KeyError("canary-of-an-event")

    receiver.send = send_once_wrong
    with delivering(audit_log, first=receiver):
        ids = record(audit_log, 2)
        wait_for(lambda: len(receiver.received) == 2, "the events")
    assert receiver.received == ids
    assert "an internal error (KeyError at" in caplog.text
    assert "canary-of-an-event" not in caplog.text


def test_deleted_events_are_counted(tmp_path, caplog):
    audit_log = SqliteAudit(tmp_path / "state" / "audit.db")
    receiver = Receiver()
    receiver.failure = "it is away"
    with delivering(audit_log, first=receiver) as sinks:
        record(audit_log, 6)
        wait_for(lambda: sinks.deliveries[0].state.failures, "the events to wait")
        audit_log.prune(time.time() + 60, CheckpointKey(bytes(32)))
        receiver.failure = None
        state = sinks.deliveries[0].state
        wait_for(lambda: state.missing, "the loss to be noticed")
        later = record(audit_log, 1)
        wait_for(lambda: receiver.received, "the next event")
    assert receiver.received == later
    assert 6 <= state.missing <= 12, "links of starts are counted, unless they were passed before"
    assert f"misses up to {state.missing} events that were deleted" in caplog.text


def test_events_wait_for_more_but_not_at_the_end(audit_log):
    receiver = Receiver(most=1000)
    receiver.linger = 600.0
    with delivering(audit_log, first=receiver) as sinks:
        ids = record(audit_log, 5)
        wait_for(lambda: sinks.deliveries[0].state.waiting >= 5, "the events to be seen")
        assert receiver.received == []
    assert receiver.batches == [ids]


def test_events_wait_for_a_time(audit_log):
    receiver = Receiver(most=1000)
    receiver.linger = 0.2
    with delivering(audit_log, first=receiver):
        ids = record(audit_log, 5)
        wait_for(lambda: len(receiver.received) == 5, "the time to pass")
    assert sorted(receiver.received) == sorted(ids)


def test_the_time_to_wait_begins_again_when_the_start_of_a_call_was_passed(audit_log):
    receiver = Receiver(most=1000)
    receiver.linger = 0.2

    async def start_of_call() -> None:
        store = AuditStore(audit_log)
        store.start()
        await store.record_intent(call_of())
        await store.close()

    with delivering(audit_log, first=receiver) as sinks:
        [each] = sinks.deliveries
        wait_for(lambda: receiver.checks, "the places to be read")
        before = each._places.copy()
        asyncio.run(start_of_call())
        wait_for(lambda: each._places != before, "the start to be passed")
        wait_for(lambda: each._waits_since is None, "the end of the time", 10)
    assert receiver.batches == []


# Several processes.


def test_of_two_processes_one_delivers_and_the_other_takes_over(audit_log):
    first, second = Receiver(), Receiver()
    one = AuditSinks(audit_log, {"only": first}, required=False)
    one.prepare()
    one.start(Store())
    with delivering(audit_log, only=second) as two:
        early = record(audit_log, 10)
        wait_for(lambda: len(first.received) == 10, "the first process")
        assert not two.delivers
        one.close()
        late = record(audit_log, 10)
        wait_for(lambda: len(second.received) == 10, "the second process")
        assert two.delivers
    assert (first.received, second.received) == (early, late)


def test_a_lost_connection_to_the_database_ends_the_claim(database, tmp_path):
    log = PostgresDatabase(database, tmp_path, bound=60)
    one, two = log.delivery_state(), log.delivery_state()
    first = one.claim()
    assert first
    assert one.claim() == first
    assert two.claim() == 0
    one.write("sink", {"places": {"1": 5}})
    one._connection.close()  # as a network does
    wait_for(two.claim, "the server to notice")
    with pytest.raises(AuditDatabaseError, match="another process may deliver"):
        one.write("sink", {"places": {"1": 9}})
    assert one.claim() == 0
    assert two.read() == {"sink": {"places": {"1": 5}}}
    two.close()
    wait_for(lambda: one.claim() > first, "the server to notice")
    one.close()


# Required sinks.


def admitted(sinks: AuditSinks, audit_log) -> str | None:
    """Record a call, and return why it was refused, or None."""

    async def run() -> str | None:
        store = AuditStore(audit_log)
        store.start()
        store.also_needs = lambda: sinks.refusal
        try:
            await store.record_intent(call_of())
        except AuditUnavailable as error:
            return str(error)
        finally:
            await store.close()
        return None

    return asyncio.run(run())


def test_calls_are_refused_until_one_sink_accepts_and_while_none_does(audit_log):
    first, second = Receiver(), Receiver()
    first.failure = second.failure = "it is away"
    sinks = AuditSinks(audit_log, {"first": first, "second": second}, required=True)
    assert admitted(sinks, audit_log) == NOT_YET
    store = Store()
    sinks.start(store)
    try:
        wait_for(lambda: store.also_needs() == NO_SINK, "the failure")
        assert admitted(sinks, audit_log) == NO_SINK
        second.failure = None
        wait_for(lambda: sinks.refusal is None, "a sink that accepts")
        assert admitted(sinks, audit_log) is None
        record(audit_log, 1)
        wait_for(lambda: second.received, "the event")
        second.failure = "it is away again"
        record(audit_log, 1)
        wait_for(lambda: sinks.refusal == NO_SINK, "the failure")
        second.failure = None
        wait_for(lambda: sinks.refusal is None, "the sink to accept again")
    finally:
        sinks.close()


def test_without_the_requirement_calls_continue(audit_log):
    receiver = Receiver()
    receiver.failure = "it is away"
    with delivering(audit_log, first=receiver) as sinks:
        wait_for(lambda: sinks.deliveries[0].state.failures, "the failure")
        assert admitted(sinks, audit_log) is None


def test_a_sink_that_confirms_nothing_is_not_enough(audit_log):
    unsure, sure = Receiver(confirms=False), Receiver()
    sure.failure = "it is away"
    with delivering(audit_log, required=True, unsure=unsure, sure=sure) as sinks:
        record(audit_log, 1)
        wait_for(lambda: unsure.received, "the event")
        wait_for(lambda: sinks.refusal == NO_SINK, "the failure")


def test_a_sink_that_hangs_or_is_too_slow_does_not_count(audit_log, monkeypatch):
    monkeypatch.setattr(delivery, "PATIENCE", 0.05)
    receiver = Receiver()
    with delivering(audit_log, required=True, first=receiver) as sinks:
        wait_for(lambda: sinks.refusal is None, "the first check")
        receiver.hangs.clear()
        record(audit_log, 1)
        wait_for(lambda: sinks.refusal == NO_SINK, "the sink to hang for too long")
        receiver.hangs.set()
        wait_for(lambda: sinks.refusal is None, "the sink to go on")
        monkeypatch.setattr(delivery, "MOST_WAITING", 5)
        receiver.hangs.clear()
        record(audit_log, 5)
        wait_for(lambda: sinks.refusal == NO_SINK, "too many events to wait")
        receiver.hangs.set()


def test_other_processes_know_what_the_one_that_delivers_knows(audit_log, monkeypatch):
    receiver, unused = Receiver(), Receiver()
    with (
        delivering(audit_log, required=True, only=receiver) as one,
        delivering(audit_log, required=True, only=unused) as two,
    ):
        wait_for(lambda: one.refusal is None and two.refusal is None, "the first check")
        receiver.failure = "it is away"
        record(audit_log, 1)
        wait_for(lambda: two.refusal == NO_SINK, "the failure in the other process")
        receiver.failure = None
        wait_for(lambda: two.refusal is None, "the other process to go on")
        monkeypatch.setattr(service, "SILENCE", 0.05)  # shorter than a beat
        wait_for(lambda: two.refusal == NOT_DELIVERED, "the silence to be noticed")
    assert unused.received == []


@pytest.mark.parametrize("stored", [None, "", 0])
def test_what_an_earlier_process_has_stored_is_not_in_force(audit_log, stored):
    earlier = audit_log.delivery_state()
    assert earlier.claim()
    earlier.write(PROCESS, {"beat": 3, "refusal": stored})
    earlier.close()
    receiver = Receiver()
    receiver.failure = "it is away"
    sinks = AuditSinks(audit_log, {"only": receiver}, required=True)
    wait_for(lambda: sinks.prepare() or sinks._prepared, "the claim")  # the server may notice the end later
    other = AuditSinks(audit_log, {"only": Receiver()}, required=True)
    other._turn()
    assert not other.delivers
    assert other.refusal == NOT_YET
    other.close()
    sinks.close()


@pytest.mark.parametrize("document", [{}, {"refusal": "<b>buy</b>"}, {"refusal": ""}, {"refusal": 0}, {"refusal": []}])
def test_only_known_reasons_of_other_processes_are_shown(tmp_path, document):
    audit_log = SqliteAudit(tmp_path / "state" / "audit.db")
    one = audit_log.delivery_state()
    assert one.claim()
    one.write(PROCESS, document)
    sinks = AuditSinks(audit_log, {"only": Receiver()}, required=True)
    sinks._turn()
    assert sinks.refusal == NOT_DELIVERED
    one.close()


def test_calls_are_refused_if_the_state_cannot_be_used_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "SILENCE", 0.3)
    audit_log = SqliteAudit(tmp_path / "state" / "audit.db")
    record(audit_log, 1)
    receiver = Receiver()
    with delivering(audit_log, required=True, first=receiver) as sinks:
        wait_for(lambda: sinks.refusal is None, "the first check")

        def fail() -> int:
            raise AuditDatabaseError("the database is away")

        monkeypatch.setattr(sinks._kept, "claim", fail)
        wait_for(lambda: sinks.refusal == NOT_DELIVERED, "calls to be refused")
        monkeypatch.undo()
        wait_for(lambda: sinks.refusal is None, "the database")


def test_a_damaged_state_delivers_nothing_and_says_so(tmp_path, caplog):
    audit_log = SqliteAudit(tmp_path / "state" / "audit.db")
    record(audit_log, 1)
    (tmp_path / "state" / "audit.db.delivery").write_text("{")
    receiver = Receiver()
    with delivering(audit_log, required=True, first=receiver) as sinks:
        wait_for(lambda: "is damaged. Restore a copy, or remove it" in caplog.text, "the message")
        assert sinks.refusal == NOT_YET
    assert receiver.received == []
    assert caplog.text.count("is damaged. Restore a copy, or remove it") == 1


@pytest.mark.parametrize("document", ["{}", '{"places": []}', '{"places": {"0": "x"}}', '{"places": {"0": null}}'])
def test_a_damaged_place_is_not_taken_for_another(tmp_path, caplog, document):
    audit_log = SqliteAudit(tmp_path / "state" / "audit.db")
    record(audit_log, 1)
    (tmp_path / "state" / "audit.db.delivery").write_text(f'{{"first": {document}}}')
    receiver = Receiver()
    with delivering(audit_log, required=True, first=receiver) as sinks:
        wait_for(lambda: "up to which events were delivered is damaged" in caplog.text, "the message")
        assert sinks.refusal == NOT_YET
    assert receiver.received == []


def test_an_audit_log_that_cannot_be_read_for_long_is_a_failure_of_the_sink(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(delivery, "PATIENCE", 0.05)
    audit_log = SqliteAudit(tmp_path / "state" / "audit.db")
    record(audit_log, 1)

    def fail(_: object) -> dict[int, int]:
        raise AuditDatabaseError("the disk fails")

    with delivering(audit_log, required=True, first=Receiver()) as sinks:
        wait_for(lambda: sinks.refusal is None, "the first check")
        with monkeypatch.context() as broken:
            broken.setattr(delivery, "heads", fail)
            wait_for(lambda: sinks.refusal == NO_SINK, "calls to be refused")
            assert sinks.deliveries[0].state.failure == delivery.UNUSABLE
        wait_for(lambda: sinks.refusal is None, "the log")
    assert caplog.text.count("Events cannot be delivered to the audit sink first: the disk fails") == 1


def test_a_place_that_cannot_be_stored_is_reported_once(tmp_path, caplog, monkeypatch):
    audit_log = SqliteAudit(tmp_path / "state" / "audit.db")
    record(audit_log, 1)
    receiver = Receiver(most=2)

    def fail(*_: object) -> None:
        raise AuditDatabaseError("the disk is full")

    with delivering(audit_log, first=receiver) as sinks:
        monkeypatch.setattr(sinks._kept, "write", fail)
        ids = record(audit_log, 5)
        wait_for(lambda: len(receiver.received) == 5, "the events")
        assert receiver.received == ids
    assert caplog.text.count("Events cannot be delivered to the audit sink first: the disk is full") == 1


def test_an_end_does_not_wait_for_a_sink_that_hangs(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(service, "ENDING", 0.1)
    audit_log = SqliteAudit(tmp_path / "state" / "audit.db")
    receiver = Receiver()
    with delivering(audit_log, first=receiver) as sinks:
        receiver.hangs.clear()
        record(audit_log, 1)
        wait_for(lambda: sinks.deliveries[0].state.busy_since, "the sink to hang")
    receiver.hangs.set()
    assert "The audit sink first did not end within 0.1 s" in caplog.text
