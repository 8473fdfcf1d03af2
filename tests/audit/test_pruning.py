"""Old events are deleted in small steps beside the writer, and the rest of the chain stays verifiable."""

import asyncio
import contextlib
import sqlite3
import time

import pytest
from click.testing import CliRunner
from tests.audit.test_verifying import KEY, changed, rows, settled, store_of, verified
from tests.support.recorded_calls import call_of, finish

from wirekey.cli.main import group
from wirekey.core.audit import pruning
from wirekey.core.audit.pruning import count_before, prune
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.call import AttemptRecord

FAILED = AttemptRecord("api.openai.com", "openai/1", None, "gpt-4o", "status", 429, 12.5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "audit.db"


async def record(path, **more):
    """Record ten old calls, of which one is still in progress and one ended late, and ten new ones."""
    store = store_of(path, **more)
    old = [call_of() for _ in range(10)]
    for call in old:
        await store.record_intent(call)
        if call not in old[:2]:
            store.record_outcome(finish(call, attempts=2, failed_attempts=(FAILED,), attempt_began=time.perf_counter()))
            await settled(store)
    await asyncio.sleep(0.01)
    moment = time.time()
    new = [call_of() for _ in range(10)]
    for call in new:
        await store.record_intent(call)
        store.record_outcome(finish(call))
        await settled(store)
    store.record_outcome(finish(old[0]))
    await settled(store)
    return store, old, moment, new


async def test_old_calls_are_deleted_and_the_rest_is_verifiable(path, monkeypatch):
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 3)
    store, old, moment, new = await record(path)
    assert count_before(SqliteAudit(path), moment) == 9
    progress = []
    assert prune(path, moment, KEY, on_progress=progress.append) == 9
    assert progress == [3, 6, 9]
    assert set(rows(path)) == {old[1].id, *(call.id for call in new)}
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM attempts").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM chain").fetchone() == (21,)
    store.record_outcome(finish(old[1]))
    later = call_of()
    await store.record_intent(later)
    assert verified(path).problems == []
    assert prune(path, moment, KEY) == 1
    assert verified(path).problems == []
    await store.close()
    assert prune(path, time.time() + 1, KEY) == 10
    assert set(rows(path)) == {later.id}
    assert verified(path).problems == []


async def test_changes_after_pruning_are_found(path):
    store, _, moment, new = await record(path)
    await store.close()
    prune(path, moment, KEY)
    changed(path, ("DELETE FROM calls WHERE id = ?", new[0].id))
    assert verified(path).problems[0].id == new[0].id
    changed(path, ("DELETE FROM chain WHERE id = ?", new[0].id))
    assert verified(path).problems[0].kind == "removed"


async def test_more_cannot_be_deleted_than_the_signed_beginning_says(path):
    store, _, moment, new = await record(path)
    await store.close()
    prune(path, moment, KEY)
    changed(
        path,
        ("DELETE FROM calls WHERE id = ?", new[0].id),
        ("DELETE FROM chain WHERE seq <= (SELECT max(seq) FROM chain WHERE id = ?)", new[0].id),
    )
    assert verified(path).problems[0].kind == "removed"


async def test_the_writer_goes_on_while_old_calls_are_deleted(path, monkeypatch):
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(pruning, "PAUSE", 0.001)
    store, _, moment, _ = await record(path)
    deleting = asyncio.create_task(asyncio.to_thread(prune, path, moment, KEY))
    while not deleting.done():
        call = call_of()
        await store.record_intent(call)
        store.record_outcome(finish(call))
    assert deleting.result() == 9
    await store.close()
    assert store.lost == 0
    assert verified(path).problems == []


def test_the_command_deletes_what_is_older_than_the_retention(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    store, *_ = asyncio.run(record(path))
    asyncio.run(store.close())

    def run(*arguments, code=0):
        result = CliRunner().invoke(group, ["audit", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    assert "Pass --before, or set audit.retention" in run("prune", code=2)
    (tmp_path / "wirekey.yaml").write_text("audit: {retention: 400d}")
    assert run("prune").startswith("0 calls are older than")
    assert run("prune", "--before", "0s", "--dry-run").startswith("19 calls are older than")
    assert run("prune", "--before", "0s").startswith("Deleted 19 calls from before")
    (tmp_path / "wirekey.yaml").write_text("audit: {retention: 400}")
    assert "must be a number of hours, days or weeks" in run("list", code=2)
