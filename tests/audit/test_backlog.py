"""A database that comes back gets the records of refused calls in parts, as one transaction has a time limit."""

from __future__ import annotations

import threading

from tests.support.audit_databases import WriterOfTest

from wirekey.core.audit.store import MOST_FINALS, AuditStore
from wirekey.core.call import Call


class Database:
    """Notes the size of each write. The first one waits for `opened`."""

    place, is_busy, is_shared, idle_seconds, trouble = "The database", False, True, None, None

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.sizes: list[int] = []

    def write(self, rows):
        self.opened.wait(60)
        self.sizes.append(len(rows.finals))
        rows.finals.clear()
        return None, 0

    def recover(self, tags):
        return 0

    def idle(self):
        pass

    close = idle


async def test_a_backlog_of_refused_calls_is_written_in_parts_and_as_a_whole_before_the_end():
    database, count = Database(), 3 * MOST_FINALS
    store = AuditStore(WriterOfTest(lambda: database))
    store.start()
    for _ in range(count):
        store.record_final(Call())
    database.opened.set()
    await store.close()
    assert sum(database.sizes) == count
    assert max(database.sizes) <= MOST_FINALS
    assert store.waiting == store.lost == 0
