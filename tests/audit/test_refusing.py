"""Trouble with the audit store, and its end, are noticed without a call."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from tests.support.recorded_calls import call_of

from wirekey.core.audit import store
from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import Call


@pytest.fixture
async def audit(tmp_path):
    opened = AuditStore(SqliteAudit(tmp_path / "audit.db"))
    assert opened.refuses() == "the audit store is not open"
    opened.start()
    yield opened
    await opened.close()
    assert opened.refuses() == "Wirekey is closing"


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_working_store_refuses_nothing(audit):
    assert audit.refuses() is None
    await audit.record_intent(call_of())
    assert audit.refuses() is None


@pytest.mark.parametrize("trouble", ["unwritable", "locked", "moved"])
async def test_the_end_of_trouble_is_noticed_without_a_call_and_not_earlier(audit, tmp_path, trouble, monkeypatch):
    monkeypatch.setattr(store, "RETRY", 0.05)
    path = tmp_path / "audit.db"
    other = sqlite3.connect(path, isolation_level=None)
    match trouble:
        case "unwritable":
            audit._file.database.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action in DENIED else 0)
        case "locked":
            audit._file.database.execute("PRAGMA busy_timeout = 200")  # milliseconds; four seconds otherwise
            other.execute("BEGIN IMMEDIATE")
        case "moved":
            path.rename(tmp_path / "elsewhere")
    with pytest.raises(AuditUnavailable):
        await audit.record_intent(Call())
    tried = []
    trial = audit._write
    monkeypatch.setattr(audit, "_write", lambda batch: tried.append(batch.trial) or trial(batch))
    await until(lambda: audit.refuses() and sum(tried) >= 3)
    assert audit.refuses()
    match trouble:
        case "unwritable":
            audit._file.database.set_authorizer(None)
        case "locked":
            other.execute("ROLLBACK")
        case "moved":
            (tmp_path / "elsewhere").rename(path)
    await until(lambda: audit.refuses() is None)
    await audit.record_intent(call_of())
    other.close()


DENIED = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_PRAGMA)


async def test_a_trial_writes_to_the_file(audit, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "RETRY", 0.0)
    log = tmp_path / "audit.db-wal"
    before = log.stat().st_size
    audit._failure = "as if the last call could not be recorded"
    await until(lambda: audit.refuses() is None)
    assert log.stat().st_size > before


async def test_frequent_checks_do_not_cause_frequent_trials(audit):
    audit._failure = "as if"
    waiting = audit._handover.qsize
    for _ in range(1000):
        audit.refuses()
    assert waiting() <= 1
