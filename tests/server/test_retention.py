"""A running Wirekey deletes events that are older than `audit.retention`."""

import asyncio
import contextlib
import sqlite3

from tests.audit.test_verifying import KEY, store_of
from tests.support.configuration import loaded
from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.server import retention
from wirekey.server.retention import Retention


async def test_old_events_are_deleted_while_new_ones_are_recorded(tmp_path, monkeypatch):
    path = tmp_path / "audit.db"
    store = store_of(path)
    old, new = call_of(), call_of()
    for call in (old, new):
        await store.record_intent(call)
        store.record_outcome(finish(call))
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE calls SET id = '01000000' || substr(id, 9) WHERE id = ?", [old.id])
        database.commit()
    config = loaded(tmp_path, "audit: {retention: 400d}")
    monkeypatch.setattr(retention, "INTERVAL", 0.01)
    task = Retention(SqliteAudit(path), config, KEY)
    task.begin()
    async with asyncio.timeout(30):
        while ids(path) != [new.id]:
            await asyncio.sleep(0.01)
    await task.end()


async def test_nothing_is_deleted_by_default(tmp_path):
    task = Retention(SqliteAudit(tmp_path / "none.db"), loaded(tmp_path, ""), KEY)
    task.begin()
    await task.end()
    assert not (tmp_path / "none.db").exists()


async def test_a_failure_is_logged_and_the_task_goes_on(tmp_path, monkeypatch, caplog):
    (tmp_path / "audit.db").write_text("not a database " * 100)
    monkeypatch.setattr(retention, "INTERVAL", 0.01)
    task = Retention(SqliteAudit(tmp_path / "audit.db"), loaded(tmp_path, "audit: {retention: 1h}"), KEY)
    task.begin()
    async with asyncio.timeout(30):
        while caplog.text.count("Old recorded calls could not be deleted") < 2:
            await asyncio.sleep(0.01)
    await task.end()


def ids(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("SELECT id FROM calls")]
