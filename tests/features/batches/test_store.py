"""Batches are remembered over restarts and by all processes, and each is settled once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from wirekey.core.call import Agent, Call
from wirekey.core.labels import FoundLabels
from wirekey.core.shared_state import MemoryState, SharedStateUnavailableError
from wirekey.features.batches.record import BatchRecord, decoded, encoded, record_of, settlement_of
from wirekey.features.batches.store import CLAIMED_FOR, KEPT, PRUNE, BatchStore, BatchStoreError

RECORD = BatchRecord("batch_1", "call-1", "openai", "openai", agent=Agent("alice", labels=(("team", "search"),)))


class Server(MemoryState):
    """A state that several machines share, and that may not respond."""

    is_remote = True

    def __init__(self, clock=lambda: 0.0) -> None:
        super().__init__(clock)
        self.responds = True

    async def get(self, key: str) -> bytes | None:
        self.check()
        return await super().get(key)

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        self.check()
        return await super().add(key, value, ttl)

    async def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        self.check()
        return await super().replace(key, expected, value, ttl)

    def check(self) -> None:
        if not self.responds:
            raise SharedStateUnavailableError("no reply")


def store_in(folder, state=None, clock=lambda: 0.0) -> BatchStore:
    state = state or MemoryState()
    return BatchStore(folder / "batches.db", lambda: state, clock)


async def test_a_batch_is_found_by_another_process_of_the_machine(tmp_path):
    first, second = store_in(tmp_path), store_in(tmp_path)
    assert await second.find("openai", "batch_1") is None
    assert not (tmp_path / "batches.db").exists(), "there is no batch yet"
    await first.remember("openai", "batch_1", RECORD)
    assert await second.find("openai", "batch_1") == RECORD
    assert await second.find("azure", "batch_1") is None
    assert stat.S_IMODE((tmp_path / "batches.db").stat().st_mode) == 0o600


async def test_the_first_record_of_a_batch_stays(tmp_path):
    store = store_in(tmp_path)
    await store.remember("openai", "file-1", RECORD)
    await store.remember("openai", "file-1", BatchRecord("batch_2", "call-2", "openai", "openai"))
    assert await store.find("openai", "file-1") == RECORD


@pytest.mark.parametrize("shared", [False, True])
def test_one_of_many_claims_succeeds(shared, tmp_path):
    state = Server() if shared else MemoryState()
    folders = [tmp_path / str(number % 2 if shared else 0) for number in range(8)]
    for folder in folders:
        folder.mkdir(exist_ok=True)

    def claim(folder) -> bool:
        return asyncio.run(store_in(folder, state).claim("openai", "batch_1")) is not None

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(claim, folders)) == 1
    assert not claim(folders[0])


@pytest.mark.parametrize("shared", [False, True])
async def test_a_claim_that_is_not_finished_ends_and_a_finished_one_stays(shared, tmp_path):
    now = [0.0]
    state = Server(lambda: now[0]) if shared else MemoryState()
    folders = [tmp_path / ("there" if shared else "here"), tmp_path / "here"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    killed, other = (store_in(folder, state, lambda: now[0]) for folder in folders)
    assert await killed.claim("openai", "batch_1")
    now[0] = CLAIMED_FOR - 1
    assert await other.claim("openai", "batch_1") is None
    now[0] = CLAIMED_FOR + 1
    claim = await other.claim("openai", "batch_1")
    assert claim
    await other.finish("openai", "batch_1", claim)
    now[0] += CLAIMED_FOR + 1
    for store in (killed, other):
        assert await store.claim("openai", "batch_1") is None


async def test_a_batch_is_forgotten_after_its_time(tmp_path):
    now = [0.0]
    store = store_in(tmp_path, clock=lambda: now[0])
    await store.remember("openai", "batch_1", RECORD)
    now[0] = KEPT - 1
    assert await store.find("openai", "batch_1") == RECORD
    now[0] = KEPT + 1
    assert await store.find("openai", "batch_1") is None
    await store.remember("openai", "batch_1", RECORD)
    assert await store.find("openai", "batch_1") == RECORD


async def test_forgetting_reads_only_what_has_expired(tmp_path):
    await store_in(tmp_path).remember("openai", "batch_1", RECORD)
    with contextlib.closing(sqlite3.connect(tmp_path / "batches.db")) as database:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {PRUNE}", (0.0,))]
    assert len(plan) == 1
    assert plan[0].startswith("SEARCH kept USING"), plan


async def test_machines_that_share_a_state_know_the_batches_of_each_other(tmp_path):
    state = Server()
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    await store_in(here, state).remember("openai", "batch_1", RECORD)
    assert await store_in(there, state).find("openai", "batch_1") == RECORD
    assert await store_in(there).find("openai", "batch_1") is None
    assert await store_in(here).find("openai", "batch_1") == RECORD, "also in its own file"


async def test_nothing_is_claimed_while_the_server_does_not_respond(tmp_path):
    state = Server()
    store = store_in(tmp_path, state)
    state.responds = False
    with pytest.raises(BatchStoreError, match="no reply"):
        await store.claim("openai", "batch_1")
    with pytest.raises(BatchStoreError):
        await store.remember("openai", "batch_1", RECORD)
    assert await store.find("openai", "batch_1") == RECORD, "the file has it"
    state.responds = True
    assert await store.claim("openai", "batch_1")


async def test_a_claim_without_a_response_is_made_again_only_by_its_process(tmp_path):
    class Late(Server):
        async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
            found = await MemoryState.add(self, key, value, ttl)
            self.check()
            return found

    state = Late()
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    first, same_machine, other = store_in(here, state), store_in(here, state), store_in(there, state)
    state.responds = False
    with pytest.raises(BatchStoreError, match="no reply"):
        await first.claim("openai", "batch_1")
    state.responds = True
    assert await same_machine.claim("openai", "batch_1") is None
    assert await other.claim("openai", "batch_1") is None
    claims = await asyncio.gather(*(first.claim("openai", "batch_1") for _ in range(8)))
    (claim,) = filter(None, claims)
    await first.finish("openai", "batch_1", claim)
    assert await first.claim("openai", "batch_1") is None


async def test_a_file_that_cannot_be_used_is_an_error(tmp_path):
    (tmp_path / "batches.db").write_bytes(b"not a database" * 100)
    store = store_in(tmp_path)
    for waiting in (
        store.remember("openai", "batch_1", RECORD),
        store.find("openai", "batch_1"),
        store.claim("openai", "batch_1"),
    ):
        with pytest.raises(BatchStoreError):
            await waiting


def test_a_record_has_names_and_no_content():
    call = Call(agent=Agent("alice", role="senior", run="nightly"), provider="openai", credential="openai/1")
    call.header_labels = FoundLabels((("session", "s1"),), ("bad",))
    headers = {"user-agent": "curl", "authorization": "Bearer wk_x", "x-secret": "y", "openai-beta": "b" * 300}
    record = record_of("batch_1", None, call, headers, "t1")
    assert record.run_token == "t1"
    assert record.headers == {"user-agent": "curl"}
    assert decoded(encoded(record)) == record
    settled = settlement_of(record, "gpt-4o-mini")
    assert (settled.agent, settled.header_labels, settled.parent_id) == (call.agent, call.header_labels, call.id)
    assert (settled.path, settled.credential, settled.model) == ("/v1/batches/batch_1", "openai/1", "gpt-4o-mini")
    assert settlement_of(record, None, in_run=False).agent.run is None


@pytest.mark.parametrize("data", [b"", b"null", b"{", b"\xff", b'{"id":"b","call":"c","provider":"gone"}'])
def test_a_record_that_cannot_be_read_is_no_batch(data):
    assert decoded(data) is None
    assert decoded(encoded(BatchRecord("b", "c", "openai", "removed"))) is None


async def test_claims_at_the_same_time_in_a_new_folder_wait_for_each_other(tmp_path):
    for number in range(30):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        stores = [store_in(folder) for _ in range(8)]
        claims = await asyncio.gather(*(store.claim("openai", "batch_1") for store in stores))
        assert len([claim for claim in claims if claim]) == 1
