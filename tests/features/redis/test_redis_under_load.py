"""A Redis that is well is never taken for one that is away, however busy this process is; and short pauses pass.

The event loop of these tests is kept busy: it is late all the time, as under many calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import pytest

from tests.support.redis_server import RedisServer
from wirekey.core.secret import Secret
from wirekey.core.shared_state import Budget, Rate, SharedStateUnavailableError
from wirekey.features.redis.state import BUDGET_LIMIT, TIME_LIMIT, RedisState

LONG = 60.0
LARGE = 10**9
LATE = 1.5 * TIME_LIMIT
"""Seconds for which the loop is busy each time: longer than a command may take."""
BURST = 60


@pytest.fixture
def own_redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture
async def state(redis_server):
    """A state with the time limits of production, whose connections are cold."""
    redis_server.empty()
    state = RedisState(Secret(redis_server.url))
    yield state
    await state.close()


@contextlib.asynccontextmanager
async def busy_loop():
    """Keep the event loop late."""

    async def burden() -> None:
        while True:
            time.sleep(LATE)
            await asyncio.sleep(0)

    task = asyncio.create_task(burden())
    try:
        yield
    finally:
        task.cancel()


async def call(state, name: str) -> None:
    """Do what a call with a budget, a number of calls at once and a rate does."""
    budgets = [Budget("usd", 1, LARGE), Budget("at once", 1, LARGE, counts_total=False)]
    assert (await state.reserve(name, budgets, LONG)).allowed
    assert (await state.take([Rate("calls", 1, LARGE), Rate("tokens", 10, LARGE)])).allowed
    await state.settle(name, {"usd": 1})


async def test_calls_at_once_on_cold_connections_in_a_late_loop_are_all_decided(state):
    async with busy_loop():
        await state.open_total("usd", 0, LONG)
        await asyncio.gather(*(call(state, f"{number}") for number in range(BURST)))
    (level,) = await state.levels(["usd"])
    assert level == (BURST, 0)
    assert state.trouble() is None


async def test_calls_at_once_after_a_pause_are_all_decided(state):
    await state.start()
    await state.open_total("usd", 0, LONG)
    await asyncio.sleep(1)
    async with busy_loop():
        await asyncio.gather(*(call(state, f"{number}") for number in range(BURST)))
    assert state.trouble() is None


async def test_a_reply_that_is_there_when_the_loop_gets_to_it_is_in_time(state):
    await state.start()
    for number in range(10):
        asking = [asyncio.create_task(state.set(f"{each}", b"value", LONG)) for each in range(3)]
        for _ in range(number % 3 + 1):
            await asyncio.sleep(0)
        time.sleep(2 * TIME_LIMIT)
        await asyncio.gather(*asking)


async def test_many_clients_use_few_connections(state, redis_server):
    await state.start()
    await state.open_total("usd", 0, LONG)

    async def client(number: int) -> None:
        for each in range(5):
            await call(state, f"{number}/{each}")

    await asyncio.gather(*(client(number) for number in range(150)))
    clients = await state._ask(bytes, "CLIENT", "LIST")
    assert clients.count(b"cmd=evalsha") + clients.count(b"cmd=client|list") <= 2


async def test_concurrent_calls_never_exceed_their_number_in_a_late_loop(state):
    budget = Budget("at once", 1, 10, counts_total=False)
    in_progress, most = 0, 0

    async def client(number: int) -> None:
        nonlocal in_progress, most
        for each in range(5):
            name = f"{number}/{each}"
            if (await state.reserve(name, [budget], LONG)).allowed:
                in_progress += 1
                most = max(most, in_progress)
                await asyncio.sleep(0.01)
                in_progress -= 1
                await state.settle(name, {})

    async with busy_loop():
        await asyncio.gather(*(client(number) for number in range(30)))
    assert most == 10


async def test_a_pause_of_the_server_refuses_nothing(own_redis):
    """200 ms, again and again. What is asked in a pause waits for its end."""
    state = RedisState(Secret(own_redis.url))
    await state.start()
    await state.open_total("usd", 0, LONG)
    paused = asyncio.Event()

    async def pause() -> None:
        for _ in range(4):
            await asyncio.to_thread(own_redis.ask, "CLIENT", "PAUSE", "200", "ALL")
            paused.set()
            await asyncio.sleep(0.5)

    pausing = asyncio.create_task(pause())
    await paused.wait()
    began, calls = time.monotonic(), 0
    while not pausing.done():
        await asyncio.gather(*(call(state, f"{calls}/{number}") for number in range(10)))
        calls += 1
    assert time.monotonic() - began > 0.2
    assert state.trouble() is None
    await state.close()


# A server that does not respond in time.


async def connection_ids(state) -> set[bytes]:
    lines = (await state._ask(bytes, "CLIENT", "LIST")).splitlines()
    return {line.split()[0] for line in lines if b"psubscribe" not in line}


async def test_a_command_that_took_too_long_keeps_its_connection_and_its_reply_is_for_nobody_else(own_redis):
    state = RedisState(Secret(own_redis.url))
    await state.start()
    await state.set("slow", b"slow", LONG)
    await state.set("next", b"next", LONG)
    before = await connection_ids(state)
    own_redis.process.send_signal(signal.SIGSTOP)
    with pytest.raises(SharedStateUnavailableError):
        await state.get("slow")
    own_redis.process.send_signal(signal.SIGCONT)
    assert await state._ask(bytes, "GET", "{wirekey}:next", limit=30) == b"next"
    assert await connection_ids(state) == before
    await state.close()


async def test_a_reservation_that_nobody_waits_for_any_more_holds_nothing(own_redis):
    state = RedisState(Secret(own_redis.url))
    await state.start()
    await state.open_total("usd", 0, LONG)
    own_redis.process.send_signal(signal.SIGSTOP)
    left = asyncio.create_task(state.reserve("left", [Budget("usd", 40, 100)], LONG))
    late = asyncio.create_task(state.reserve("late", [Budget("usd", 60, 100)], LONG))
    await asyncio.sleep(0.1)
    left.cancel()
    with pytest.raises(SharedStateUnavailableError):
        await late
    own_redis.process.send_signal(signal.SIGCONT)
    await until_allowed(state, "next", [Budget("usd", 100, 100)])
    await state.close()


async def test_a_budget_waits_for_a_server_that_restarts(own_redis):
    state = RedisState(Secret(own_redis.url))
    await state.start()
    own_redis.stop()
    asking = asyncio.create_task(state.reserve("call", [Budget("calls", 1, 1, counts_total=False)], LONG))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(own_redis.start)
    assert (await asking).allowed
    await state.close()


async def test_a_server_that_is_gone_delays_a_budget_for_no_longer_than_its_limit(own_redis):
    state = RedisState(Secret(own_redis.url))
    await state.start()
    own_redis.stop()
    began = time.monotonic()
    with pytest.raises(SharedStateUnavailableError):
        await state.reserve("call", [Budget("calls", 1, 1, counts_total=False)], LONG)
    assert time.monotonic() - began < 2 * BUDGET_LIMIT
    with pytest.raises(SharedStateUnavailableError):
        async with asyncio.timeout(BUDGET_LIMIT / 2):
            await state.take([Rate("calls", 1, LARGE)])
    await state.close()


async def test_a_server_that_forgot_the_scripts_gets_them_again(state, redis_server):
    await state.start()
    assert redis_server.ask("SCRIPT", "FLUSH") == b"+OK\r\n"
    assert (await state.take([Rate("calls", 1, LARGE)])).allowed
    assert redis_server.ask("SCRIPT", "FLUSH") == b"+OK\r\n"
    assert await state.add("key", b"value", LONG) is None


async def until_allowed(state, name: str, budgets: list[Budget]) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(SharedStateUnavailableError):
            if (await state.reserve(name, budgets, LONG)).allowed:
                return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
