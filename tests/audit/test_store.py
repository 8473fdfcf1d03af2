# threats go by their number
"""An acknowledged event is in the file even after a crash. A call that cannot be recorded is refused in time."""

import asyncio
import contextlib
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.recorded_calls import call_of, finish
from tests.support.running import PATIENCE

from wirekey.core.audit import schema, store
from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.audit.event import ATTEMPT_NAMES, event_of
from wirekey.core.audit.reading import attempts_of
from wirekey.core.audit.schema import AuditFileError
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import AttemptRecord, Call, Outcome


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "audit.db"


def rows(path):
    database = schema.open_for_reading(path)
    database.row_factory = sqlite3.Row
    try:
        return {row["id"]: dict(row) for row in database.execute("SELECT * FROM calls")}
    finally:
        database.close()


@pytest.fixture
async def audit(path):
    opened = AuditStore(SqliteAudit(path))
    opened.start()
    yield opened
    await opened.close()


def test_only_the_owner_can_read_the_file(path):
    path.parent.mkdir()
    path.touch(0o644)
    audit = AuditStore(SqliteAudit(path))
    audit.start()
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    asyncio.run(audit.close())


async def test_a_running_call_is_marked_interrupted_at_the_start_after_a_crash(path, caplog):
    first, finished, open_still = AuditStore(SqliteAudit(path)), call_of(), call_of()
    first.start()
    for call in (finished, open_still):
        await first.record_intent(call)
    first.record_outcome(finish(finished))
    await first.close()
    second = AuditStore(SqliteAudit(path))
    second.start()
    await second.close()
    outcomes = {call_id: row["outcome"] for call_id, row in rows(path).items()}
    assert outcomes == {finished.id: "completed", open_still.id: "interrupted"}
    assert "1 calls were in progress" in caplog.text


# Trouble.


async def refusal_of(audit, call=None):
    started = time.monotonic()
    with pytest.raises(AuditUnavailable) as refused:
        await audit.record_intent(call or call_of())
    assert time.monotonic() - started < 10 * audit.bound
    return str(refused.value)


async def call_until_refused(audit):
    for _ in range(1000):
        await audit.record_intent(call_of())


async def test_before_start_and_after_close_calls_are_refused(path):
    audit = AuditStore(SqliteAudit(path))
    assert await refusal_of(audit) == "the audit store is not open"
    audit.start()
    await audit.close()
    await audit.close()
    assert await refusal_of(audit) == "Wirekey is closing"
    audit.record_outcome(call_of())
    assert audit.lost == 1


async def test_L3_a_full_disk_refuses_calls_and_keeps_outcomes_for_later(path, caplog, monkeypatch):
    monkeypatch.setattr(store, "RETRY", 0.02)
    audit = AuditStore(SqliteAudit(path))
    audit.start()
    started = call_of()
    await audit.record_intent(started)
    pages = audit._file.database.execute("PRAGMA page_count").fetchone()[0]
    audit._file.database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(AuditUnavailable, match="the disk of the audit file is full"):
        await call_until_refused(audit)
    refused = call_of(outcome=Outcome.DENIED)
    audit.record_final(refused)
    audit.record_outcome(finish(started))
    assert await refusal_of(audit, call_of(route="x" * 200)) == "the disk of the audit file is full"
    assert caplog.text.count("is full. Calls are refused") == 1
    audit._file.database.execute("PRAGMA max_page_count = 100000")
    await audit.record_intent(call_of())
    await audit.close()
    assert "can be written again" in caplog.text
    assert rows(path)[started.id]["outcome"] == "completed"
    assert rows(path)[refused.id]["outcome"] == "denied"
    assert audit.lost == 0


async def test_L3_a_file_that_turned_read_only_refuses_calls(audit):
    audit._file.database.execute("PRAGMA query_only = 1")
    assert await refusal_of(audit) == "the audit file is read-only"


async def test_L3_a_lock_of_another_program_refuses_calls_within_the_bound(path):
    audit = AuditStore(SqliteAudit(path, bound=2))  # a fifth of it is left for the writer to report the lock
    audit.start()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await refusal_of(audit) == "another program has locked the audit file"
    other.execute("ROLLBACK")
    other.close()
    audit.bound = PATIENCE
    await audit.record_intent(call_of())
    await audit.close()


async def test_L3_a_file_that_was_moved_away_refuses_calls_until_it_is_back(audit, path):
    path.rename(path.with_suffix(".old"))
    assert "moved or replaced" in await refusal_of(audit)
    path.with_suffix(".old").rename(path)
    await audit.record_intent(call_of())


async def test_a_writer_that_waits_for_the_processor_refuses_no_call(audit, monkeypatch):
    write = audit._write

    def write_late(rows):
        time.sleep(0.7)
        return write(rows)

    monkeypatch.setattr(audit, "_write", write_late)
    await audit.record_intent(call_of())


async def test_a_hanging_writer_delays_a_call_only_up_to_the_limit(path, monkeypatch):
    audit = AuditStore(SqliteAudit(path, bound=0.05))
    monkeypatch.setattr(audit, "_write", lambda batch: time.sleep(0.3))
    audit.start()
    assert await refusal_of(audit) == "the audit file was not written within 0.05 s"
    await audit.close()


async def test_a_dead_writer_refuses_calls_immediately(path, monkeypatch, caplog):
    audit = AuditStore(SqliteAudit(path, bound=0.05))

    def die(batch):
        raise SystemExit

    monkeypatch.setattr(audit, "_write", die)
    audit.start()
    assert "was not written" in await refusal_of(audit)
    audit._thread.join(PATIENCE)
    assert await refusal_of(audit) == "the audit writer has failed"
    assert "the audit writer has failed" in caplog.text


async def test_a_full_queue_refuses_calls_and_counts_lost_outcomes(path, monkeypatch, caplog):
    monkeypatch.setattr(store, "MAX_QUEUE", 3)
    audit = AuditStore(SqliteAudit(path, bound=5))
    audit.start()
    audit._soon = True  # as if the rows were to be handed over at the end of this turn of the loop
    for _ in range(5):
        audit._gather(audit._gathering.finals, ())
    assert await refusal_of(audit) == "too many calls wait to be recorded"
    assert audit.lost == 2
    assert "call outcomes that could not be recorded so far: 1" in caplog.text
    audit._gathering.finals.clear()
    audit._queued = 0
    await audit.close()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"this is no database, and it is long enough to be looked at" * 40, "damaged"),
        (b"SQLite format 3\0" + b"\xff" * 4096, "damaged"),
    ],
)
def test_a_damaged_database_is_reported_and_left_unchanged(path, content, says):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(AuditFileError, match=says) as error:
        AuditStore(SqliteAudit(path)).start()
    assert str(path) in str(error.value)
    assert "move it" in str(error.value)
    assert path.read_bytes() == content
    with pytest.raises(AuditFileError, match=says):
        schema.open_for_reading(path)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("CREATE TABLE recipes (name)", "not an audit file"),
        (f"{schema.SCHEMA}; UPDATE schema_version SET version = 99", "version 99"),
    ],
)
def test_a_file_of_another_program_or_version_is_reported_and_left_unchanged(path, statement, says):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript(statement)
    for use in (AuditStore(SqliteAudit(path)).start, lambda: schema.open_for_reading(path)):
        with pytest.raises(AuditFileError, match=says):
            use()


ADDED_FIELDS = (
    "audio_input_tokens",
    "audio_output_tokens",
    "parent_id",
    "rolled_up_messages",
    "replica",
    "service_tier",
    "labels",
    "labels_unverified",
    "labels_invalid",
)
"""The last fields of the event, of which files of earlier versions have only the first ones."""


@pytest.mark.parametrize("has_attempts", [True, False], ids=["with attempts", "without attempts"])
@pytest.mark.parametrize("version", schema.OLDER_VERSIONS)
def test_a_file_of_an_older_version_is_updated_with_its_events(path, version, has_attempts):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as older:
        older.executescript(schema.SCHEMA)
        for name in ADDED_FIELDS[{4: 0, 5: 4, 6: 4, 7: 5, 8: 6}[version] :]:
            older.execute(f"ALTER TABLE calls DROP COLUMN {name}")
        older.execute("INSERT INTO calls (id, outcome) VALUES ('018f-1', 'completed')")
        if has_attempts:
            older.execute(schema.ATTEMPTS)
            for name in ("translation", "adjusted", "dropped"):
                older.execute(f"ALTER TABLE attempts DROP COLUMN {name}")
            older.execute("INSERT INTO attempts (call_id, number) VALUES ('018f-1', 1)")
        older.execute(f"UPDATE schema_version SET version = {version}")
        older.commit()
    with pytest.raises(AuditFileError, match="Wirekey updates it when it next starts"):
        schema.open_for_reading(path)
    with contextlib.closing(schema.open_for_writing(path, "commit", 5)) as updated:
        columns = [row[1] for row in updated.execute("PRAGMA table_info(calls)")]
        assert columns == list(event_of(Call()))
        assert updated.execute("SELECT id, parent_id FROM calls").fetchall() == [("018f-1", None)]
        assert [row[1] for row in updated.execute("PRAGMA table_info(attempts)")] == list(ATTEMPT_NAMES)
        tried = updated.execute("SELECT call_id, number, translation FROM attempts").fetchall()
        assert tried == ([("018f-1", 1, None)] if has_attempts else [])
    schema.open_for_reading(path).close()


def test_an_unwritable_location_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AuditFileError, match="cannot be written: "):
        AuditStore(SqliteAudit(tmp_path / "file" / "audit.db")).start()


ACKNOWLEDGING = """
import asyncio, os, sys
from pathlib import Path
from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore

async def call_on_and_on(audit):
    while True:
        call = call_of()
        await audit.record_intent(call)
        os.write(1, f"{call.id}\\n".encode())
        audit.record_outcome(finish(call))

async def main():
    audit = AuditStore(SqliteAudit(Path(sys.argv[1]), sys.argv[2]))
    audit.start()
    await asyncio.gather(*(call_on_and_on(audit) for _ in range(10)))

asyncio.run(main())
"""


@pytest.mark.parametrize(("durability", "seconds"), [("commit", 0.02), ("commit", 0.2), ("fsync", 0.1)])
def test_L5_after_kill_9_every_acknowledged_intent_is_there(path, durability, seconds):
    top = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", ACKNOWLEDGING, path, durability],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": f"{top}:{top / 'addons'}"},
    )
    acknowledged = [process.stdout.readline()]
    until = time.monotonic() + random.uniform(0.5, 1.5) * seconds
    while time.monotonic() < until:
        acknowledged.append(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    ids = {line.decode().strip() for line in acknowledged if line.endswith(b"\n")}
    recovered = AuditStore(SqliteAudit(path))
    recovered.start()
    asyncio.run(recovered.close())
    recorded = rows(path)
    assert ids
    assert ids <= set(recorded)
    assert {row["outcome"] for row in recorded.values()} <= {"completed", "interrupted"}


def attempts(path):
    with contextlib.closing(schema.open_for_reading(path)) as database:
        return [list(row) for row in database.execute("SELECT * FROM attempts ORDER BY call_id, number")]


FAILED = AttemptRecord("api.openai.com", "openai/1", None, "gpt-4o", "status", 429, 12.5)


async def test_a_file_without_the_attempts_table_can_be_read_and_gets_the_table(path):
    schema.open_for_writing(path, "commit", 1).close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE attempts")
    with SqliteAudit(path).reading() as database:
        assert attempts_of(database, "any") == []
    schema.open_for_writing(path, "commit", 1).close()
    assert attempts(path) == []


async def test_attempts_and_outcome_wait_until_the_file_can_be_written(audit, path):
    call = call_of()
    await audit.record_intent(call)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        audit.record_outcome(finish(call, attempts=2, failed_attempts=(FAILED,)))
        await asyncio.sleep(0.6)
        assert rows(path)[call.id]["outcome"] is None
        other.execute("ROLLBACK")
    await audit.close()
    assert rows(path)[call.id]["outcome"] == "completed"
    assert len(attempts(path)) == 2


def about_to_be_sent_again():
    return call_of(credential="openai/2", attempts=1, failed_attempts=(FAILED,))


async def test_a_retry_that_cannot_be_recorded_is_refused(audit, path):
    call = about_to_be_sent_again()
    await audit.record_intent(call)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AuditUnavailable):
            await audit.record_next_attempt(call)
        other.execute("ROLLBACK")
    assert attempts(path) == []


async def test_after_a_crash_the_running_attempt_is_interrupted(audit, path):
    call = about_to_be_sent_again()
    await audit.record_intent(call)
    await audit.record_next_attempt(call)
    assert audit.recover() == 1
    assert [row[6] for row in attempts(path)] == ["status", "interrupted"]
