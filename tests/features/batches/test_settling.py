"""A batch is charged once, also if the process that charges it is killed or fails."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.features.batches.test_reading import nested, openai_line
from wirekey.core.body import Body
from wirekey.core.call import Agent, Call
from wirekey.core.calls.usage_limits import UsageLimits
from wirekey.core.identity.runs import RunRecord
from wirekey.core.operation import Kind, Operation, Usage
from wirekey.core.shared_state import MemoryState
from wirekey.features.batches.addon import Batches
from wirekey.features.batches.reading import BatchResponse, Results, ShownBatches
from wirekey.features.batches.record import BatchRecord
from wirekey.features.batches.settling import Settlement
from wirekey.features.batches.spending import Spending
from wirekey.features.batches.store import CLAIMED_FOR, BatchStore, BatchStoreError
from wirekey.providers.openai.batches import BATCHES

RECORD = BatchRecord("batch_1", "call-1", "openai", "openai", agent=Agent("alice"))


class Killed(BaseException):
    """The process ends here."""


class Limits(UsageLimits):
    """Notes what is charged. `ends`: whether the process ends before that."""

    def __init__(self) -> None:
        self.ends = False
        self.charged: list[tuple[str, int]] = []
        self.runs: list[str | None] = []

    def note_limits(self, state, given) -> None:
        self.runs.append(state.call.agent.run if state.call.agent else None)

    def charge(self, state, charge, tokens, cost):
        if self.ends:
            raise Killed
        self.charged.append((charge, tokens))


class Machine:
    def __init__(self, folder) -> None:
        self.now = 0.0
        self.limits = Limits()
        self.recorded: list[Call] = []
        self.runs: dict[str, RunRecord] = {}
        state = MemoryState()
        self.store = BatchStore(folder / "batches.db", lambda: state, lambda: self.now)

    @property
    def services(self) -> Any:
        calls, agents = SimpleNamespace(record=self.recorded.append), SimpleNamespace(runs=self.runs)
        return SimpleNamespace(usage_limits=self.limits, calls=calls, agents=agents, opened=self)

    def find(self, _: type) -> BatchStore:
        """Return what was opened at the start."""
        return self.store

    async def settle(self, record: BatchRecord = RECORD) -> None:
        spending = Spending("openai")
        spending.add(Usage(100, 20, model="gpt-4o-mini"))
        await Settlement(self.services, self.store).settle(record, spending, None)

    async def note(self, addon: Batches, operation: str, batch: dict) -> None:
        """Note a response that shows a batch of OpenAI."""
        shown = ShownBatches(BATCHES, lambda: Spending("openai"))
        copy = BatchResponse(shown)
        copy.feed(json.dumps(batch).encode())
        copy.end()
        call = Call(provider="openai", operation=Operation(operation, Body.NONE, Kind.STORAGE))
        await addon.note(cast("Any", SimpleNamespace(call=call, request=None)), copy)

    async def read(self, name: str, data: bytes) -> None:
        """Read a file of OpenAI."""
        results = Results(BATCHES, Spending("openai"))
        results.feed(data)
        results.end()
        call = Call(provider="openai", path=f"/v1/files/{name}/content")
        await Batches.note_results(cast("Any", self), self.store, self.store.find, call, results)


async def test_a_charge_that_a_kill_has_lost_is_made_by_a_later_reading(tmp_path):
    machine = Machine(tmp_path)
    machine.limits.ends = True
    with pytest.raises(Killed):
        await machine.settle()
    machine.limits.ends = False
    machine.now = CLAIMED_FOR + 1
    await machine.settle()
    assert [tokens for _, tokens in machine.limits.charged] == [120]
    assert [call.parent_id for call in machine.recorded] == ["call-1"]
    machine.now *= 2
    await machine.settle()
    assert len(machine.limits.charged) == len(machine.recorded) == 1


async def test_a_charge_that_is_repeated_has_the_same_id_and_no_other_batch_has_it(tmp_path):
    machine = Machine(tmp_path)

    async def fails(*_: object) -> None:
        raise BatchStoreError("the disk is full")

    finish, machine.store.finish = machine.store.finish, fails  # type: ignore[method-assign]  # the process is killed
    with pytest.raises(BatchStoreError):
        await machine.settle()
    machine.store.finish = finish  # type: ignore[method-assign]
    machine.now = CLAIMED_FOR + 1
    await machine.settle()
    await machine.settle(BatchRecord("batch_2", "call-2", "openai", "openai"))
    first, again, other = (charge for charge, _ in machine.limits.charged)
    assert first == again != other


async def test_a_result_that_cannot_be_read_is_settled_with_an_unknown_cost(tmp_path, caplog):
    machine = Machine(tmp_path)
    await machine.store.remember("openai", "file-1", RECORD)
    await machine.read("file-1", openai_line(10, 5) + b"\n" + nested(openai_line(20, 7)))
    (call,) = machine.recorded
    assert (call.policy_reason, call.cost_usd) == ("batch_settled: 2 requests of batch_1, read", None)
    assert "the cost of 1 of the 2 requests of batch batch_1 is unknown" in caplog.text


async def test_a_file_without_results_is_no_unknown_batch(tmp_path, caplog):
    machine = Machine(tmp_path)
    await machine.read("file-2", b"%PDF-1.7\nsome text")
    assert machine.recorded == []
    assert caplog.text == ""
    await machine.read("file-2", openai_line(10, 5))
    assert "the results file-2 of openai are of a batch that Wirekey does not know" in caplog.text


@pytest.mark.parametrize(("token", "charged"), [("t1", "nightly"), ("t2", None), (None, None)])
async def test_only_the_run_that_made_a_batch_is_charged(token, charged, tmp_path):
    machine = Machine(tmp_path)
    if token:
        machine.runs["nightly"] = RunRecord(name="nightly", token=token, created=datetime.now(UTC))
    agent = Agent("alice", run="nightly")
    await machine.settle(BatchRecord("batch_1", "call-1", "openai", "openai", agent=agent, run_token="t1"))
    assert machine.limits.runs == [charged]
    assert len(machine.limits.charged) == 1


async def test_a_status_waits_for_the_record_of_its_batch(tmp_path):
    machine = Machine(tmp_path)
    addon = Batches(machine.services)
    remember, may_store = machine.store.remember, asyncio.Event()

    async def slow(*record: Any) -> None:
        await may_store.wait()
        await remember(*record)

    machine.store.remember = slow  # type: ignore[method-assign]  # a disk that is slow
    made = {"id": "batch_1", "object": "batch", "status": "validating"}
    used = {"input_tokens": 10, "output_tokens": 5}
    making = asyncio.create_task(machine.note(addon, "batches.create", made))
    await asyncio.sleep(0)
    asking = asyncio.create_task(machine.note(addon, "batches.get", made | {"status": "completed", "usage": used}))
    await asyncio.sleep(0.05)
    assert not asking.done()
    may_store.set()
    await asyncio.gather(making, asking)
    assert [call.usage.input_tokens for call in machine.recorded if call.usage] == [10]
