"""The output of the last calls is read from the audit log."""

import time

from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import Outcome
from wirekey.core.operation import Usage
from wirekey.features.quotas import recorded_output
from wirekey.features.quotas.expected_output import CallKind, Output
from wirekey.features.quotas.recorded_output import recorded_output as read


async def recorded(path, *calls) -> SqliteAudit:
    store = AuditStore(SqliteAudit(path))
    store.start()
    for call, end in calls:
        await store.record_intent(call)
        store.record_outcome(finish(call, **end))
    await store.close()
    return store.database


async def test_whole_responses_count_in_their_order(tmp_path):
    database = await recorded(
        tmp_path / "audit.db",
        (call_of(), {"usage": Usage(10, 20)}),
        (call_of("bob", model="gpt-5"), {"usage": Usage(10, 50, reasoning_tokens=30)}),
        (call_of(), {"usage": Usage(10, 21)}),
        (call_of(), {"usage": Usage(10, None)}),
        (call_of(), {"usage": Usage(10, 22), "outcome": Outcome.CLIENT_CANCELLED}),
    )
    assert read(database, time.time()) == [
        (CallKind("alice", "gpt-4o-mini", "chat.completions"), Output(20)),
        (CallKind("bob", "gpt-5", "chat.completions"), Output(20, 30)),
        (CallKind("alice", "gpt-4o-mini", "chat.completions"), Output(21)),
    ]


async def test_only_the_last_calls_are_read(tmp_path, monkeypatch):
    calls = [(call_of(), {"usage": Usage(10, number)}) for number in (20, 21, 22)]
    database = await recorded(tmp_path / "audit.db", *calls)
    monkeypatch.setattr(recorded_output, "MOST_CALLS", 2)
    assert [output.shown for _, output in read(database, time.time())] == [21, 22]
    assert read(database, time.time() + recorded_output.SINCE + 60) == []


def test_there_may_be_no_audit_log(tmp_path):
    assert read(SqliteAudit(tmp_path / "audit.db"), time.time()) == []
