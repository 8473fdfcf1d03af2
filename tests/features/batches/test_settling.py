"""A batch is charged once, also if the process that charges it is killed or fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from wirekey.core.call import Agent, Call
from wirekey.core.calls.usage_limits import UsageLimits
from wirekey.core.operation import Usage
from wirekey.core.shared_state import MemoryState
from wirekey.features.batches.record import BatchRecord
from wirekey.features.batches.settling import Settlement
from wirekey.features.batches.spending import Spending
from wirekey.features.batches.store import CLAIMED_FOR, BatchStore, BatchStoreError

RECORD = BatchRecord("batch_1", "call-1", "openai", "openai", agent=Agent("alice"))


class Killed(BaseException):
    """The process ends here."""


class Limits(UsageLimits):
    """Notes what is charged. `ends`: whether the process ends before that."""

    def __init__(self) -> None:
        self.ends = False
        self.charged: list[tuple[str, int]] = []

    def note_limits(self, state, given) -> None:
        """No quota applies."""

    def charge(self, state, charge, tokens, cost):
        if self.ends:
            raise Killed
        self.charged.append((charge, tokens))


class Machine:
    def __init__(self, folder) -> None:
        self.now = 0.0
        self.limits = Limits()
        self.recorded: list[Call] = []
        state = MemoryState()
        self.store = BatchStore(folder / "batches.db", lambda: state, lambda: self.now)

    async def settle(self, record: BatchRecord = RECORD) -> None:
        services = SimpleNamespace(usage_limits=self.limits, calls=SimpleNamespace(record=self.recorded.append))
        spending = Spending("openai")
        spending.add(Usage(100, 20, model="gpt-4o-mini"))
        await Settlement(cast("Any", services), self.store).settle(record, spending, None)


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
