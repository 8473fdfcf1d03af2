"""The shared state of several machines: a Redis or Valkey server, alone, with Sentinel, or as a cluster.

Every step has a time limit. After several failures in a row nothing is asked for a while, so that calls do not wait for
a server that is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from wirekey.shared_state import redis_scripts as scripts
from wirekey.shared_state.buckets import burst_of, interval_of
from wirekey.shared_state.protocol import BudgetLevel, RateLevel, Reserved, SharedStateUnavailableError, Taken
from wirekey.shared_state.receivers import Receivers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from redis.asyncio.client import PubSub

    from wirekey.secret import Secret
    from wirekey.shared_state.protocol import Budget, Rate

logger = logging.getLogger(__name__)

TIME_LIMIT = 0.05
"""Seconds for one step."""
CONNECT_LIMIT = 2.0
"""Seconds for the first connection, at the start."""
COMMAND_LIMIT = 10.0
"""Seconds for what a command reads."""
FAILURES = 3
"""Failures in a row after which nothing is asked for `REST` seconds. Then one call tries again."""
REST = 1.0
CONNECTIONS = 64
PREFIX = "{wirekey}:"
"""With the hash tag of Redis, so that all keys are in one slot of a cluster, and a script may use any of them."""
SETTLED_FOR = 3600.0
MICROSECONDS = 1_000_000


class RedisState:
    """The `SharedState` of several machines.

    `url`: `redis://`, `redis+sentinel://HOST:PORT,HOST:PORT/NAME` or `redis+cluster://HOST:PORT`, with user and
    password. With `rediss` in place of `redis`, all connections have TLS; `?ssl_ca_certs=FILE` is the CA to trust.
    """

    is_local = False

    def __init__(self, url: Secret, time_limit: float = TIME_LIMIT) -> None:
        self._client = client_of(url.reveal())
        self._message_clients = message_clients_of(url.reveal()) or (self._client,)
        """Clients of which any one receives the messages of all processes."""
        self._place = place_of(url.reveal())
        self._time_limit = time_limit
        self._scripts: dict[str, Any] = {}
        self._sender = os.urandom(8)
        self._receivers = Receivers()
        self._listening: asyncio.Task[None] | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._trouble: str | None = None

    async def _ask[Result](self, ask: Callable[[], Awaitable[Result]], limit: float | None = None) -> Result:
        """Return what the server responds. Raises SharedStateUnavailableError after the time limit."""
        from redis.exceptions import RedisClusterException, RedisError

        now = time.monotonic()
        if self._failures >= FAILURES and now < self._retry_at:
            raise SharedStateUnavailableError(self._trouble)
        self._retry_at = now + REST  # until the response, no other call tries it
        try:
            async with asyncio.timeout(limit or self._time_limit):
                result = await ask()
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            self._fail(error)
            raise SharedStateUnavailableError(self._trouble) from error
        if self._failures:
            if self._failures >= FAILURES:
                logger.warning("Redis at %s responds again.", self._place)
            self._failures, self._trouble = 0, None
        return result

    def _fail(self, error: Exception) -> None:
        reason = "no response in time" if isinstance(error, TimeoutError) else type(error).__name__
        self._failures += 1
        self._trouble = f"Redis at {self._place} does not respond ({reason})"
        self._retry_at = time.monotonic() + REST
        if self._failures == FAILURES:
            # Not an error, as mitmproxy would exit if it was logged during the start.
            logger.warning("%s. It is tried again every second.", self._trouble)

    async def _script(self, source: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        script = self._scripts.get(source)
        if script is None:
            script = self._scripts[source] = self._client.register_script(source)
        return await self._ask(lambda: script(keys=[PREFIX + key for key in keys], args=arguments))

    # Values that expire.

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None if it has none or it has expired."""
        found: bytes | None = await self._ask(lambda: self._client.get(PREFIX + key))
        return found

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Set the value of a key for `ttl` seconds."""
        await self._ask(lambda: self._client.set(PREFIX + key, value, px=milliseconds(ttl)))

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """Set the value of a key that has none. Return None if it was set, otherwise the value that it has."""
        found: bytes | None = await self._script(scripts.ADD, [key], [value, milliseconds(ttl)])
        return found

    async def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Set the value of a key if its value is `expected`. Return whether it was set."""
        return bool(await self._script(scripts.REPLACE, [key], [expected, value, milliseconds(ttl)]))

    async def delete(self, key: str) -> None:
        """Remove the value of a key, if it has one."""
        await self._ask(lambda: self._client.delete(PREFIX + key))

    # Rates.

    async def take(self, rates: Sequence[Rate]) -> Taken:
        """Remove all amounts if each fits into its bucket, otherwise none of them."""
        allowed, *times = await self._take(rates, "0")
        levels = []
        for index, rate in enumerate(rates):
            missing, wait = (float(text) / MICROSECONDS for text in times[2 * index : 2 * index + 2])
            left = burst_of(rate) - round(missing / interval_of(rate), 6)
            levels.append(RateLevel(max(0, int(left // 1)), missing, wait))
        return Taken(bool(allowed), tuple(levels))

    async def charge(self, rates: Sequence[Rate]) -> None:
        """Remove amounts whether or not they fit. A negative amount is given back."""
        await self._take(rates, "1")

    async def _take(self, rates: Sequence[Rate], force: str) -> Any:
        arguments: list[Any] = [force]
        for rate in rates:
            arguments += [rate.amount, repr(interval_of(rate) * MICROSECONDS), burst_of(rate)]
        return await self._script(scripts.TAKE, [f"bucket:{rate.key}" for rate in rates], arguments)

    # Budgets.

    async def reserve(self, reservation: str, budgets: Sequence[Budget], ttl: float) -> Reserved:
        """Reserve all amounts under the id `reservation` if each fits, otherwise none of them."""
        keys = [f"reservation:{reservation}", *(f"budget:{budget.key}" for budget in budgets)]
        arguments: list[Any] = [reservation, milliseconds(ttl)]
        for budget in budgets:
            arguments += [budget.amount, budget.limit, int(budget.counts_total)]
        found = await self._script(scripts.RESERVE, keys, arguments)
        states = found[::3]
        levels = [BudgetLevel(int(spent), int(held)) for spent, held in zip(found[1::3], found[2::3], strict=True)]
        exhausted, unopened = (
            tuple(index for index, state in enumerate(states) if state == word) for word in (b"exhausted", b"unopened")
        )
        return Reserved(tuple(levels), exhausted, unopened)

    async def renew(self, reservation: str, ttl: float) -> bool:
        """Keep a reservation for `ttl` seconds from now. Return False if it has ended."""
        arguments = [reservation, milliseconds(ttl)]
        return bool(await self._script(scripts.RENEW, [f"reservation:{reservation}"], arguments))

    async def settle(self, reservation: str, used: Mapping[str, int]) -> None:
        """End a reservation and add what was used to the totals, by key."""
        keys = [f"reservation:{reservation}", f"settled:{reservation}", *(f"budget:{key}" for key in used)]
        arguments = [reservation, milliseconds(SETTLED_FOR), *used.values()]
        await self._script(scripts.SETTLE, keys, arguments)

    async def open_total(self, key: str, spent: int, ttl: float) -> bool:
        """Set the total of a budget that has none, for `ttl` seconds. Return False if it has one."""
        name, lasts = f"{PREFIX}budget:{key}:total", milliseconds(ttl)
        return bool(await self._ask(lambda: self._client.set(name, spent, px=lasts, nx=True)))

    async def levels(self, keys: Sequence[str]) -> tuple[BudgetLevel | None, ...]:
        """Return the level of each budget, or None where the total is not known."""
        if not keys:
            return ()
        found = await self._script(scripts.LEVELS, [f"budget:{key}" for key in keys], [])
        pairs = zip(found[::2], found[1::2], strict=True)
        return tuple(BudgetLevel(int(spent), int(reserved)) if spent else None for spent, reserved in pairs)

    async def totals(self) -> dict[str, int]:
        """Return what is spent of all budgets, by key, for a command. Raises SharedStateUnavailableError."""
        before, after = f"{PREFIX}budget:", ":total"

        async def read() -> dict[str, int]:
            names = [name async for name in self._client.scan_iter(match=f"{before}*{after}", count=1000)]
            found = {name: await self._client.get(name) for name in names}
            return {
                name.decode().removeprefix(before).removesuffix(after): int(spent)
                for name, spent in found.items()
                if spent is not None
            }

        return await self._ask(read, COMMAND_LIMIT)

    # Messages.

    async def publish(self, topic: str, message: bytes) -> None:
        """Send a message to the other processes that use the state. One that is not connected does not get it."""
        await self._ask(lambda: self._client.publish(PREFIX + topic, self._sender + message))

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> None:
        """Call `receive` in the event loop with each message of other processes about a topic."""
        self._receivers.add(topic, receive)

    async def start(self) -> None:
        """Begin to receive messages. Raises SharedStateUnavailableError if the server cannot be reached."""
        subscribed = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(subscribed))
        await self._ask(self._client.ping, CONNECT_LIMIT)
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
        for client in {id(client): client for client in (self._client, *self._message_clients)}.values():
            with contextlib.suppress(OSError):
                await client.aclose()

    def trouble(self) -> str | None:
        """Return why the server does not respond at present, or None. Without calls, the next one finds out."""
        return self._trouble if self._failures >= FAILURES else None


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))


def place_of(url: str) -> str:
    """Return the hosts of a URL, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def client_of(url: str) -> Any:
    """Return a client for a URL. It connects when it is first used. Raises ImportError without the package `redis`."""
    import redis.asyncio as client
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff

    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_LIMIT,
        "socket_keepalive": True,
        "health_check_interval": 15,
        "retry": Retry(NoBackoff(), 1),  # a connection that the server has closed in the meantime
    }
    parts = urlsplit(url)
    if is_cluster(url):
        nodes = [client.cluster.ClusterNode(host, port) for host, port in addresses(place_of(url), 6379)]
        limit = CONNECT_LIMIT
        return client.RedisCluster(startup_nodes=nodes, **user_of(url), **tls_of(url), socket_connect_timeout=limit)
    if parts.scheme.endswith("+sentinel"):
        name = parts.path.strip("/") or "mymaster"
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            addresses(place_of(url), 26379), sentinel_kwargs={"socket_connect_timeout": CONNECT_LIMIT, **tls_of(url)}
        )
        return sentinel.master_for(name, **user_of(url), **tls_of(url), **options)
    return client.Redis.from_url(url, max_connections=CONNECTIONS, **options)


def message_clients_of(url: str) -> tuple[Any, ...]:
    """Return a client for each node that the URL of a cluster names, as a message reaches all nodes; otherwise none."""
    if not is_cluster(url):
        return ()
    import redis.asyncio as client

    options = {**user_of(url), **tls_of(url), "socket_connect_timeout": CONNECT_LIMIT, "socket_keepalive": True}
    return tuple(client.Redis(host=host, port=port, **options) for host, port in addresses(place_of(url), 6379))


def is_cluster(url: str) -> bool:
    """Return whether a URL names nodes of a cluster."""
    return urlsplit(url).scheme.endswith("+cluster")


def tls_of(url: str) -> dict[str, Any]:
    """Return the settings for TLS of a URL with Sentinel or a cluster; empty without TLS. Others are read by redis."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("rediss"):
        return {}
    trusted = dict(parse_qsl(parts.query)).get("ssl_ca_certs")
    return {"ssl": True, "ssl_ca_certs": trusted} if trusted else {"ssl": True}


def user_of(url: str) -> dict[str, Any]:
    """Return the user and the password of a URL, decoded."""
    parts = urlsplit(url)
    user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    return {"username": user, "password": password}


def addresses(hosts: str, port: int) -> list[tuple[str, int]]:
    """Return (host, port) for each entry of HOST:PORT,HOST:PORT. `port`: for entries without one."""
    found = []
    for entry in hosts.split(","):
        host, _, number = entry.rpartition(":") if ":" in entry else (entry, "", str(port))
        found.append((host.strip("[]"), int(number)))
    return found
