"""The shared state of several machines: a Redis or Valkey server, alone, with Sentinel, or as a cluster.

Every step has a time limit. After failures over some time, no request is sent for a while, so that calls do not wait
for a server that is unreachable.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from wirekey.core.shared_state.buckets import burst_of, interval_of
from wirekey.core.shared_state.receivers import Receivers
from wirekey.features.redis import loss_scripts, replies, scripts
from wirekey.features.redis.breaker import REST
from wirekey.features.redis.client import (
    CONNECT_LIMIT,
    PREFIX,
    client_of,
    connector_of,
    message_clients_of,
    place_of,
)
from wirekey.features.redis.connection import RedisCommand
from wirekey.features.redis.losses import CHANGED, GUARD, RedisLosses
from wirekey.features.redis.replies import MICROSECONDS
from wirekey.features.redis.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis.asyncio.client import PubSub

    from wirekey.core.secret import Secret
    from wirekey.core.shared_state.protocol import Budget, BudgetLevel, Rate, Reserved, Taken

TIME_LIMIT = 0.05
"""Seconds from when a command is written, for values and messages: without them, a process decides alone."""
RATE_LIMIT = 0.3
"""Seconds for rates. A short pause of the server passes without a process deciding alone."""
BUDGET_LIMIT = 1.0
"""Seconds for budgets, as their calls are refused otherwise."""
COMMAND_LIMIT = 10.0
"""Seconds for what a command reads."""
SETTLED_FOR = 3600.0
PRELOADED = (
    scripts.ADD,
    scripts.REPLACE,
    scripts.TAKE,
    scripts.RESERVE,
    scripts.RENEW,
    scripts.SETTLE,
    scripts.LEVELS,
    loss_scripts.WATCH,
)
"""The scripts that are loaded before calls use a connection. Any other is loaded when it is first used."""


class RedisState:
    """The `SharedState` of several machines.

    `url`: `redis://`, `redis+sentinel://HOST:PORT,HOST:PORT/NAME` or `redis+cluster://HOST:PORT`, with user and
    password. With `rediss` in place of `redis`, all connections have TLS; `?ssl_ca_certs=FILE` is the CA to trust.
    `time_limit`: seconds for a value; rates and budgets have at least as long.
    """

    is_local = False
    is_remote = True

    def __init__(self, url: Secret, time_limit: float = TIME_LIMIT) -> None:
        client = client_of(url.reveal())
        self._message_clients = message_clients_of(url.reveal()) or (client,)
        """Clients of which any one receives the messages of all processes."""
        self._transport = Transport(connector_of(client, url.reveal()), place_of(url.reveal()), PRELOADED)
        self._time_limit = time_limit
        self.losses = RedisLosses(partial(self._script, limit=BUDGET_LIMIT))
        self._sender = os.urandom(8)
        self._receivers = Receivers()
        self._listening: asyncio.Task[None] | None = None

    async def _ask[Result](self, read: Callable[[Any], Result], *words: Any, limit: float = 0.0) -> Result:
        """Return what the server responds. Raises SharedStateUnavailableError after the time limit."""
        return await self._transport.ask(RedisCommand(words, max(limit, self._time_limit)), read)

    async def _script[Result](
        self,
        source: str,
        keys: Sequence[str],
        arguments: Sequence[Any],
        read: Callable[[Any], Result],
        *,
        limit: float = 0.0,
        is_repeatable: bool = True,
        undo: Callable[[], Sequence[Any]] | None = None,
    ) -> Result:
        """Run a script. `limit` of a budget: the call waits for a connection, too."""
        words = script_words(source, keys, arguments)
        command = RedisCommand(words, max(limit, self._time_limit), source, limit >= BUDGET_LIMIT, is_repeatable, undo)
        return await self._transport.ask(command, read)

    # Values that expire.

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None if it has none or it has expired."""
        return await self._ask(replies.value, "GET", PREFIX + key)

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Set the value of a key for `ttl` seconds."""
        await self._ask(replies.is_set, "SET", PREFIX + key, value, "PX", milliseconds(ttl))

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """Set the value of a key that has none. Return None if it was set, otherwise the value that it has."""
        arguments = [value, milliseconds(ttl)]
        return await self._script(scripts.ADD, [key], arguments, replies.value, is_repeatable=False)

    async def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Set the value of a key if its value is `expected`. Return whether it was set."""
        arguments = [expected, value, milliseconds(ttl)]
        return await self._script(scripts.REPLACE, [key], arguments, replies.flag, is_repeatable=False)

    async def delete(self, key: str) -> None:
        """Remove the value of a key, if it has one."""
        await self._ask(replies.number, "DEL", PREFIX + key)

    # Rates.

    async def take(self, rates: Sequence[Rate]) -> Taken:
        """Remove all amounts if each fits into its bucket, otherwise none of them."""
        return await self._take(rates, "0")

    async def charge(self, rates: Sequence[Rate]) -> None:
        """Remove amounts whether or not they fit. A negative amount is given back."""
        await self._take(rates, "1")

    async def _take(self, rates: Sequence[Rate], force: str) -> Taken:
        arguments: list[Any] = [force]
        for rate in rates:
            arguments += [rate.amount, repr(interval_of(rate) * MICROSECONDS), burst_of(rate)]
        keys = [f"bucket:{rate.key}" for rate in rates]
        # Repeated, it may take twice, which is rather too strict than too lax; it must not give back twice.
        is_repeatable = force == "0"
        return await self._script(
            scripts.TAKE, keys, arguments, replies.taken(rates), limit=RATE_LIMIT, is_repeatable=is_repeatable
        )

    # Budgets.

    async def reserve(self, reservation: str, budgets: Sequence[Budget], ttl: float) -> Reserved:
        """Reserve all amounts under the id `reservation` if each fits, otherwise none of them."""
        held = f"reservation:{reservation}"
        keys = [held, GUARD, *(f"budget:{budget.key}" for budget in budgets)]
        arguments: list[Any] = [reservation, milliseconds(ttl), *self.losses.guard]
        # Without budgets, the script ends the reservation that a call no longer waits for, also after a loss.
        undo = partial(script_words, scripts.RESERVE, [held, GUARD], [*arguments[:2], "", 0])
        for budget in budgets:
            arguments += [budget.amount, budget.limit, int(budget.counts_total)]
        read = replies.reserved(budgets)
        found = await self._script(scripts.RESERVE, keys, arguments, read, limit=BUDGET_LIMIT, undo=undo)
        if found is None:
            raise self.losses.lost()
        self.losses.note_reserved(budgets, found)
        return found

    async def renew(self, reservation: str, ttl: float) -> bool:
        """Keep a reservation for `ttl` seconds from now. Return False if it has ended."""
        keys, arguments = [f"reservation:{reservation}"], [reservation, milliseconds(ttl)]
        return await self._script(scripts.RENEW, keys, arguments, replies.flag, limit=BUDGET_LIMIT)

    async def settle(self, reservation: str, used: Mapping[str, int]) -> None:
        """End a reservation and add what was used to the totals, by key."""
        state, totals = await self._settle(reservation, used, is_known=not self.losses.epoch)
        if state == b"unopened":
            # The clock of the server was set, or it had no room: what was seen is not lost. Or it has lost its data
            # before anything was spent.
            for key in used:
                if self.losses.is_open(key):
                    await self.open_total(key, self.losses.amount(key), self.losses.ttl(key))
            state, totals = await self._settle(reservation, used, is_known=True)
        if state == b"lost":
            raise self.losses.lost()
        if state == b"ok":
            self.losses.note_settled(used, totals)

    async def _settle(self, reservation: str, used: Mapping[str, int], *, is_known: bool) -> tuple[bytes, list[bytes]]:
        keys = [f"reservation:{reservation}", f"settled:{reservation}", GUARD, CHANGED]
        keys += [f"budget:{key}" for key in used]
        arguments = [reservation, milliseconds(SETTLED_FOR), *self.losses.guard, int(is_known)]
        arguments += [self.losses.ledger, *used.values()]
        return await self._script(scripts.SETTLE, keys, arguments, replies.settled(used), limit=BUDGET_LIMIT)

    async def open_total(self, key: str, spent: int, ttl: float) -> bool:
        """Set the total of a budget that has none, for `ttl` seconds. Return False if it has one."""
        keys = [f"budget:{key}:total", f"budget:{key}:restored"]
        arguments = [spent, milliseconds(ttl), self.losses.epoch]
        return await self._script(loss_scripts.OPEN, keys, arguments, replies.flag, limit=BUDGET_LIMIT)

    async def levels(self, keys: Sequence[str]) -> tuple[BudgetLevel | None, ...]:
        """Return the level of each budget, or None where the total is not known."""
        if not keys:
            return ()
        names = [f"budget:{key}" for key in keys]
        return await self._script(scripts.LEVELS, names, [], replies.levels(keys), limit=BUDGET_LIMIT)

    async def totals(self) -> dict[str, int]:
        """Return what is spent of all budgets, by key, for a command. Raises SharedStateUnavailableError."""
        before, after = f"{PREFIX}budget:", ":total"
        found: dict[str, int] = {}
        cursor = b"0"
        while True:
            scan = "SCAN", cursor, "MATCH", f"{before}*{after}", "COUNT", 1000
            cursor, names = await self._ask(replies.page, *scan, limit=COMMAND_LIMIT)
            for name in names:
                spent = await self._ask(replies.number_or_none, "GET", name, limit=COMMAND_LIMIT)
                if spent is not None:
                    found[name.decode(errors="replace").removeprefix(before).removesuffix(after)] = spent
            if cursor == b"0":
                return found

    # Messages.

    async def publish(self, topic: str, message: bytes) -> None:
        """Send a message to the other processes that use the state. One that is not connected does not get it."""
        await self._ask(replies.number, "PUBLISH", PREFIX + topic, self._sender + message)

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> None:
        """Call `receive` in the event loop with each message of other processes about a topic."""
        self._receivers.add(topic, receive)

    async def start(self) -> None:
        """Connect and begin to receive messages. Raises SharedStateUnavailableError if the server is unreachable."""
        subscribed = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(subscribed))
        await self._transport.ready()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_LIMIT):
                await subscribed.wait()

    async def _listen(self, subscribed: asyncio.Event) -> None:
        from redis.exceptions import RedisClusterException, RedisError

        for client in itertools.cycle(self._message_clients):
            try:
                async with client.pubsub() as channel:
                    await channel.psubscribe(PREFIX + "*")
                    subscribed.set()
                    await self._receive(channel)
            except (RedisError, RedisClusterException, OSError, TimeoutError):
                await asyncio.sleep(REST)

    async def _receive(self, channel: PubSub) -> None:
        async for event in channel.listen():
            if event["type"] != "pmessage" or event["data"].startswith(self._sender):
                continue
            topic = event["channel"].decode(errors="replace").removeprefix(PREFIX)
            self._receivers.deliver(topic, event["data"][len(self._sender) :])

    async def close(self) -> None:
        """Stop receiving messages and close the connections."""
        if self._listening:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None
        await self._transport.close()
        for client in self._message_clients:
            with contextlib.suppress(OSError):
                await client.aclose()

    def trouble(self) -> str | None:
        """Return why the server does not respond at present, or None. Without calls, the next one finds out."""
        return self._transport.trouble()


def script_words(source: str, keys: Sequence[str], arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the command that runs a script by its hash."""
    return "EVALSHA", hash_of(source), len(keys), *(PREFIX + key for key in keys), *arguments


@cache
def hash_of(source: str) -> str:
    """Return the name that the server has for a script."""
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))
