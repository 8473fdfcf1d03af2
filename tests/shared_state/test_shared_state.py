"""What every implementation of the shared state does. Times are short, because a server has a clock of its own."""

from __future__ import annotations

import asyncio
import time

from wirekey.core.shared_state import Budget, BudgetLevel, Rate

SHORT = 0.15
LONG = 60.0


async def test_a_value_is_there_until_it_expires(state):
    assert await state.get("key") is None
    await state.set("key", b"\x00value", SHORT)
    await state.set("other", b"other", LONG)
    assert await state.get("key") == b"\x00value"
    await asyncio.sleep(SHORT + 0.05)
    assert await state.get("key") is None
    assert await state.get("other") == b"other"


async def test_a_value_that_is_set_again_lasts_from_then_on(state):
    await state.set("key", b"one", SHORT)
    await state.set("key", b"two", LONG)
    await asyncio.sleep(SHORT + 0.05)
    await state.set("other", b"", LONG)
    assert await state.get("key") == b"two"


async def test_only_the_first_add_sets_a_value(state):
    assert await state.add("key", b"one", SHORT) is None
    assert await state.add("key", b"two", LONG) == b"one"
    await asyncio.sleep(SHORT + 0.05)
    assert await state.add("key", b"three", LONG) is None


async def test_of_many_adds_at_once_one_sets_the_value(state):
    results = await asyncio.gather(*(state.add("key", str(number).encode(), LONG) for number in range(20)))
    assert results.count(None) == 1
    assert set(results) - {None} == {await state.get("key")}


async def test_a_value_is_replaced_only_if_it_is_the_expected_one(state):
    assert not await state.replace("key", b"one", b"two", LONG)
    await state.set("key", b"one", LONG)
    assert not await state.replace("key", b"two", b"three", LONG)
    assert await state.replace("key", b"one", b"two", LONG)
    assert await state.get("key") == b"two"


async def test_a_deleted_value_is_gone(state):
    await state.set("key", b"one", LONG)
    await state.delete("key")
    await state.delete("never set")
    assert await state.get("key") is None
    assert await state.add("key", b"two", LONG) is None


# Rates.


async def test_a_bucket_gives_what_it_holds_and_then_says_when_to_come_again(state):
    rate = Rate("calls", 1, limit=5, period=LONG)
    taken = [await state.take([rate]) for _ in range(6)]
    assert [each.allowed for each in taken] == [True] * 5 + [False]
    assert [each.levels[0].remaining for each in taken] == [4, 3, 2, 1, 0, 0]
    assert taken[0].levels[0].retry_after == 0
    assert 11.5 < taken[5].levels[0].retry_after <= 12
    assert 59 < taken[5].levels[0].reset <= 60


async def test_a_bucket_fills_steadily(state):
    """A busy machine may take longer, but nothing makes the bucket fill faster."""
    rate = Rate("calls", 1, limit=10, period=1.0)
    began, taken = time.monotonic(), []
    while sum(taken) < 14:
        taken.append((await state.take([rate])).allowed)
        await asyncio.sleep(0.01)
    assert time.monotonic() - began > 0.39
    assert taken[:10] == [True] * 10


async def test_a_bucket_with_a_small_burst_holds_no_more_than_that(state):
    rate = Rate("calls", 1, limit=600, period=LONG, burst=3)
    assert [(await state.take([rate])).allowed for _ in range(4)] == [True, True, True, False]


async def test_an_amount_above_the_burst_needs_a_full_bucket_and_leaves_a_debt(state):
    large = Rate("tokens", 50, limit=100, period=LONG, burst=10)
    assert (await state.take([large])).allowed
    refused = await state.take([Rate("tokens", 1, limit=100, period=LONG, burst=10)])
    assert not refused.allowed
    assert refused.levels[0].remaining == 0
    assert 24 < refused.levels[0].retry_after <= 24.7


async def test_either_all_rates_have_room_or_nothing_is_taken(state):
    wide, narrow = Rate("wide", 1, limit=100, period=LONG), Rate("narrow", 1, limit=1, period=LONG)
    assert (await state.take([wide, narrow])).allowed
    refused = await state.take([wide, narrow])
    assert not refused.allowed
    assert [level.retry_after > 0 for level in refused.levels] == [False, True]
    assert (await state.take([Rate("wide", 0, limit=100, period=LONG)])).levels[0].remaining == 99


async def test_a_charge_takes_more_than_there_is_and_gives_back(state):
    await state.charge([Rate("tokens", 250, limit=100, period=LONG)])
    assert not (await state.take([Rate("tokens", 1, limit=100, period=LONG)])).allowed
    await state.charge([Rate("tokens", -200, limit=100, period=LONG)])
    level = (await state.take([Rate("tokens", 0, limit=100, period=LONG)])).levels[0]
    assert level.remaining in (50, 51)
    await state.charge([Rate("tokens", -1000, limit=100, period=LONG)])
    assert (await state.take([Rate("tokens", 0, limit=100, period=LONG)])).levels[0].remaining == 100


async def test_takers_at_once_never_get_more_than_the_bucket_holds(state):
    rate = Rate("calls", 1, limit=10, period=LONG)
    taken = await asyncio.gather(*(state.take([rate]) for _ in range(30)))
    assert sum(each.allowed for each in taken) == 10


# Budgets.


async def test_a_reservation_of_an_unknown_total_names_it(state):
    refused = await state.reserve("call", [Budget("calls", 1, 9, counts_total=False), Budget("usd", 1, 100)], LONG)
    assert not refused.allowed
    assert refused.unopened == (1,)
    assert await state.open_total("usd", 40, LONG)
    assert not await state.open_total("usd", 90, LONG)
    assert await state.levels(["usd", "eur"]) == (BudgetLevel(40, 0), None)


async def test_reservations_and_spending_never_exceed_the_limit(state):
    await state.open_total("usd", 40, LONG)
    first = await state.reserve("first", [Budget("usd", 50, 100)], LONG)
    assert first.allowed
    assert first.levels == (BudgetLevel(40, 50),)
    refused = await state.reserve("second", [Budget("usd", 11, 100)], LONG)
    assert refused.exhausted == (0,)
    assert refused.levels == (BudgetLevel(40, 50),)
    assert (await state.reserve("second", [Budget("usd", 10, 100)], LONG)).allowed


async def test_settling_replaces_the_reservation_by_what_was_used_once(state):
    await state.open_total("usd", 0, LONG)
    await state.reserve("call", [Budget("usd", 50, 100)], LONG)
    await state.settle("call", {"usd": 7})
    await state.settle("call", {"usd": 7})
    assert await state.levels(["usd"]) == (BudgetLevel(7, 0),)


async def test_amounts_are_exact(state):
    await state.open_total("usd", 2**52 + 1, LONG)
    await state.reserve("call", [Budget("usd", 2**40 + 1, 2**53)], LONG)
    assert await state.levels(["usd"]) == (BudgetLevel(2**52 + 1, 2**40 + 1),)
    await state.settle("call", {"usd": 2**40 + 1})
    assert await state.levels(["usd"]) == (BudgetLevel(2**52 + 2**40 + 2, 0),)


async def test_a_reservation_of_a_process_that_died_expires(state):
    await state.open_total("usd", 0, LONG)
    await state.reserve("dead", [Budget("usd", 100, 100)], SHORT)
    assert not (await state.reserve("next", [Budget("usd", 1, 100)], LONG)).allowed
    await asyncio.sleep(SHORT + 0.05)
    assert (await state.reserve("next", [Budget("usd", 1, 100)], LONG)).allowed
    assert not await state.renew("dead", LONG)
    await state.settle("dead", {"usd": 5})
    assert await state.levels(["usd"]) == (BudgetLevel(5, 1),)


async def test_a_renewed_reservation_lasts(state):
    await state.open_total("usd", 0, LONG)
    await state.reserve("call", [Budget("usd", 100, 100)], SHORT)
    assert await state.renew("call", LONG)
    await asyncio.sleep(SHORT + 0.05)
    assert await state.levels(["usd"]) == (BudgetLevel(0, 100),)


async def test_all_budgets_have_room_or_nothing_is_reserved(state):
    await state.open_total("day", 0, LONG)
    await state.open_total("month", 95, LONG)
    refused = await state.reserve("call", [Budget("day", 10, 100), Budget("month", 10, 100)], LONG)
    assert refused.exhausted == (1,)
    assert await state.levels(["day", "month"]) == (BudgetLevel(0, 0), BudgetLevel(95, 0))


async def test_calls_at_once_are_counted_without_a_total(state):
    budget = Budget("calls", 1, 2, counts_total=False)
    assert [(await state.reserve(name, [budget], LONG)).allowed for name in ("a", "b", "c")] == [True, True, False]
    await state.settle("a", {})
    assert (await state.reserve("c", [budget], LONG)).allowed


async def test_a_reservation_under_the_same_id_replaces_the_former(state):
    await state.open_total("usd", 0, LONG)
    await state.reserve("call", [Budget("usd", 60, 100)], LONG)
    assert (await state.reserve("call", [Budget("usd", 70, 100)], LONG)).allowed
    assert await state.levels(["usd"]) == (BudgetLevel(0, 70),)


async def test_a_total_expires(state):
    await state.open_total("usd", 50, SHORT)
    await asyncio.sleep(SHORT + 0.05)
    assert await state.levels(["usd"]) == (None,)
    assert (await state.reserve("call", [Budget("usd", 1, 100)], LONG)).unopened == (0,)
    assert await state.open_total("usd", 0, LONG)


async def test_reservations_at_once_stay_within_the_limit(state):
    await state.open_total("usd", 0, LONG)
    results = await asyncio.gather(*(state.reserve(f"call{n}", [Budget("usd", 30, 100)], LONG) for n in range(20)))
    assert sum(result.allowed for result in results) == 3
