"""What one process learns of the limits of Google accounts, another one knows."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from wirekey.core.calls.services import Services
from wirekey.core.routing.candidate import Upstream
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.features.google_accounts.account_limits import AccountLimits, limit_key
from wirekey.features.google_accounts.accounts import AccountStatus
from wirekey.features.google_accounts.code_assist.backend import BackendSettings, CodeAssist
from wirekey.features.google_accounts.code_assist.limits import DAY, CoolDown

PRO, FLASH, NAME = "gemini-2.5-pro", "gemini-2.5-flash", "gemini-oauth-auto"
LIMIT = b'{"error": {"message": "Please retry in 3000s", "status": "RESOURCE_EXHAUSTED"}}'


class Accounts:
    """Two accounts."""

    def __init__(self):
        self.limits = []

    def usable(self):
        return ["a", "b"]

    def statuses(self):
        return dict.fromkeys(self.usable(), AccountStatus.VALID)

    def note_limit(self, account_id, until, reason):
        self.limits.append((account_id, until - time.time() > 2900, reason))


class Process:
    """The backend of one process."""

    def __init__(self, state):
        self.backend = CodeAssist(BackendSettings(NAME, Upstream("h"), "ua"))
        self.backend.open(Accounts(), None)
        self.services = Services()
        self.services.shared_state = state
        self.limits = AccountLimits(self.services.sharing)
        self.limits.watch({NAME: self.backend})

    def limited(self, model=PRO):
        now = time.monotonic()
        return [key.label for key in self.backend.pool(model).keys if key.cooling_until > now]

    def limit(self, model=PRO):
        pool = self.backend.pool(model)
        self.backend.note_status(pool, pool.keys[0], None, 429, None)
        self.backend.note_error(pool, pool.keys[0], 429, None, LIMIT)

    async def settle(self):
        await self.services.sharing.close()


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_account_that_rests_in_one_process_rests_in_the_other_for_the_same_model(pair):
    first, second = map(Process, pair)
    assert second.limited() == second.limited(FLASH) == []
    first.limit()
    await first.settle()
    await until(lambda: second.limited() == [f"{NAME}/a"])
    assert second.limited(FLASH) == []
    assert first.backend.accounts.limits == [("a", True, f"RESOURCE_EXHAUSTED for {PRO}")]


async def test_a_process_that_starts_later_asks_once(pair):
    first, later = Process(pair[0]), None
    first.limit()
    await first.settle()
    later = Process(pair[1])
    pool = later.backend.pool(PRO)
    assert later.limited() == []
    await later.limits.learn(pool)
    assert later.limited() == [f"{NAME}/a"]
    pool.keys[0].cooling_until = 0.0
    await later.limits.learn(pool)
    assert later.limited() == []


async def test_a_success_ends_the_rest_everywhere(pair):
    first, second = map(Process, pair)
    second.limited()
    first.limit()
    await first.settle()
    await until(second.limited)
    pool = first.backend.pool(PRO)
    first.backend.note_status(pool, pool.keys[0], None, 200, None)
    await first.settle()
    await until(lambda: not second.limited())
    third = Process(pair[1])
    await third.limits.learn(third.backend.pool(PRO))
    assert third.limited() == []


class Away:
    """A shared state that does not respond."""

    is_local = False

    def subscribe(self, topic, receive):
        pass

    async def get(self, *arguments):
        raise SharedStateUnavailableError

    set = publish = delete = get


async def test_without_the_shared_state_each_process_decides_alone():
    process = Process(Away())
    await process.limits.learn(process.backend.pool(PRO))
    process.limit()
    await process.settle()
    assert process.limited() == [f"{NAME}/a"]


@pytest.mark.parametrize("message", [b'["unknown/a", "m", 1.0, 1]', b'["gemini-oauth-auto/x", "m", 1.0, 1]'])
async def test_a_message_about_an_unknown_account_changes_nothing(message):
    process = Process(Away())
    pool = process.backend.pool("m")
    pool.start_cool_down(pool.keys[1], CoolDown(50), time.monotonic())
    process.limits._receive(message)
    assert process.limited("m") == [f"{NAME}/b"]


@pytest.mark.parametrize("stored", [b"", b"\xff", b"[1]", b'["gemini-oauth-auto/a", "gemini-2.5-pro", "soon", 1]'])
async def test_a_limit_that_cannot_be_read_changes_nothing(pair, stored):
    """It is of a process with another version of Wirekey."""
    process = Process(pair[1])
    pool = process.backend.pool(PRO)
    for key in pool.keys:
        await pair[0].set(limit_key(key.label, PRO), stored, 60)
    await process.limits.learn(pool)
    assert process.limited() == []


async def test_a_limit_of_a_process_whose_clock_is_wrong_ends_within_a_day(pair):
    process = Process(pair[1])
    key = process.backend.pool(PRO).keys[0]
    process.limits._receive(msgspec.json.encode([key.label, PRO, time.time() + 400 * DAY, 1]))
    assert key.cooling_until < time.monotonic() + 1.1 * DAY
