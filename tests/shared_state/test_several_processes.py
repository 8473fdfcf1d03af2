"""What one process stores, another one sees; messages reach the others."""

from __future__ import annotations

import asyncio
import time

from wirekey.core.shared_state import Budget, Rate

LONG = 60.0


async def test_a_process_sees_what_another_one_stores(pair):
    first, second = pair
    await first.set("key", b"value", LONG)
    assert await second.get("key") == b"value"
    assert await second.add("key", b"other", LONG) == b"value"


async def test_processes_share_limits_and_budgets(pair):
    first, second = pair
    rate, budget = Rate("calls", 1, limit=4, period=LONG), Budget("usd", 40, 100)
    allowed = [(await state.take([rate])).allowed for state in (first, second) * 3]
    assert allowed == [True] * 4 + [False] * 2
    assert await first.open_total("usd", 0, LONG)
    results = await asyncio.gather(*(state.reserve(f"{n}", [budget], LONG) for n, state in enumerate(pair * 5)))
    assert sum(result.allowed for result in results) == 2


async def test_a_message_reaches_the_other_process_and_not_its_sender(pair):
    first, second = pair
    received: dict[str, list[bytes]] = {"first": [], "second": [], "other topic": []}
    first.subscribe("keys", received["first"].append)
    second.subscribe("keys", received["second"].append)
    second.subscribe("agents", received["other topic"].append)
    await first.publish("keys", b"\x00one")
    await first.publish("keys", b"two")
    await until(lambda: len(received["second"]) == 2)
    assert received == {"first": [], "second": [b"\x00one", b"two"], "other topic": []}


async def test_a_message_that_cannot_be_read_costs_only_itself(pair, caplog):
    """It is of a process with another version of Wirekey. Revocations after it still arrive."""
    first, second = pair
    received: list[bytes] = []

    def read(message: bytes) -> None:
        received.append(message)
        raise ValueError(message)

    second.subscribe("keys", read)
    second.subscribe("keys", received.append)
    for message in (b"s3cr3t", b"last"):
        await first.publish("keys", message)
    await until(lambda: len(received) == 4)
    assert caplog.text.count("A message of another process about keys cannot be read") == 1
    assert "s3cr3t" not in caplog.text


async def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
