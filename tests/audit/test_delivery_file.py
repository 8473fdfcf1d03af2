"""The file that keeps how far events were delivered, and the calls that ended behind such a place."""

from __future__ import annotations

import asyncio
import errno
import stat
import subprocess
import sys

import pytest
from tests.support.recorded_calls import call_of, finish

from wirekey.core.audit import delivery_file
from wirekey.core.audit.audit_log import AuditDatabaseError, AuditUnavailable
from wirekey.core.audit.delivery_file import DeliveryFile
from wirekey.core.audit.following import ended_after, heads
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore

OTHER = """
import pathlib, sys
from wirekey.core.audit.delivery_file import DeliveryFile

print(DeliveryFile(pathlib.Path(sys.argv[1])).claim())
"""
"""A program that claims the delivery and ends."""


def claim_of_another_process(path) -> str:
    return subprocess.run(
        [sys.executable, "-c", OTHER, path], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_one_process_has_the_claim_until_it_ends_or_closes(tmp_path):
    path = tmp_path / "state" / "delivery"
    assert claim_of_another_process(path) == "1"
    state = DeliveryFile(path)
    assert (state.claim(), state.claim()) == (1, 1)
    assert claim_of_another_process(path) == "0"
    assert DeliveryFile(path).claim() == 0
    state.close()
    assert claim_of_another_process(path) == "1"


def test_documents_are_kept_by_name_and_only_the_owner_can_read_them(tmp_path):
    path = tmp_path / "delivery"
    state = DeliveryFile(path)
    assert state.claim()
    assert state.read() == {}
    state.write("one", {"places": {"0": 5}})
    state.write("two", {"places": {}})
    state.write("one", {"places": {"0": 7}})
    assert DeliveryFile(path).read() == {"one": {"places": {"0": 7}}, "two": {"places": {}}}
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / "target"
    (tmp_path / "delivery.lock").symlink_to(target)
    with pytest.raises(AuditDatabaseError, match="cannot be used"):
        DeliveryFile(tmp_path / "delivery").claim()
    (tmp_path / "other.new").symlink_to(target)
    other = DeliveryFile(tmp_path / "other")
    assert other.claim()
    with pytest.raises(AuditDatabaseError, match="cannot be used"):
        other.write("one", {})
    assert not target.exists()
    target.write_text('{"one": {}}')
    (tmp_path / "other").symlink_to(target)
    with pytest.raises(AuditDatabaseError, match="cannot be used"):
        other.read()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"one": 1}', '{"one": {"places": {}}, "two": []}', "\xff"])
def test_a_damaged_file_is_named_with_the_fix(tmp_path, content):
    (tmp_path / "delivery").write_text(content, encoding="latin-1")
    with pytest.raises(AuditDatabaseError, match=r"is damaged\. Restore a copy, or remove it"):
        DeliveryFile(tmp_path / "delivery").read()


def test_only_the_process_with_the_claim_writes(tmp_path):
    path = tmp_path / "delivery"
    one, two = DeliveryFile(path), DeliveryFile(path)
    assert (one.claim(), two.claim()) == (1, 0)
    with pytest.raises(AuditDatabaseError, match="another process may deliver"):
        two.write("sink", {"places": {"0": 9}})
    one.write("sink", {"places": {"0": 5}})
    one.close()
    assert one.claim() == 0  # a thread that has not ended
    with pytest.raises(AuditDatabaseError, match="another process may deliver"):
        one.write("sink", {"places": {"0": 9}})
    assert two.claim() == 1
    assert two.read() == {"sink": {"places": {"0": 5}}}


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(delivery_file.fcntl, "flock", flock)
    with pytest.raises(AuditDatabaseError, match="cannot be used: No locks available"):
        DeliveryFile(tmp_path / "delivery").claim()


def test_ended_calls_are_read_in_parts_in_the_order_of_their_ends(tmp_path):
    audit_log = SqliteAudit(tmp_path / "audit.db")
    calls = [call_of() for _ in range(3)]

    async def run() -> None:
        store = AuditStore(audit_log)
        store.start()
        for call in calls:
            await store.record_intent(call)
        for call in reversed(calls[1:]):
            store.record_outcome(finish(call))
        await store.close()

    asyncio.run(run())
    with audit_log.reading() as reader:
        assert heads(reader) == {0: 5}
        assert ended_after(reader, 0, 0, 3) == ([], 3, 0)
        whole = ended_after(reader, 0, 0)
        assert [event["id"] for event in whole.events] == [calls[2].id, calls[1].id]
        assert (whole.place, whole.missing) == (5, 0)
        part = ended_after(reader, 0, 3, 1)
        assert ([event["id"] for event in part.events], part.place) == ([calls[2].id], 4)
        assert ended_after(reader, 0, 5) == ([], 5, 0)


async def test_a_store_that_needs_more_refuses_with_its_reason(tmp_path):
    store = AuditStore(SqliteAudit(tmp_path / "audit.db"))
    store.start()
    try:
        store.also_needs = lambda: "no sink accepts events"
        with pytest.raises(AuditUnavailable, match="no sink accepts events"):
            await store.record_intent(call_of())
        with pytest.raises(AuditUnavailable, match="no sink accepts events"):
            await store.record_next_attempt(call_of())
        store.also_needs = lambda: None
        await store.record_intent(call_of())
    finally:
        await store.close()
