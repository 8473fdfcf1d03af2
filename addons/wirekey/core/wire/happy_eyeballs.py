"""Connecting to one of several addresses of a host: Happy Eyeballs (RFC 8305).

The addresses were resolved and checked before. They are tried in order. The next one is tried when the one before has
failed, or after `ATTEMPT_DELAY` beside it. The first connection is used, and the others are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

ATTEMPT_DELAY = 0.25
"""Seconds until the next address is tried: the Connection Attempt Delay of RFC 8305."""
MAX_ADDRESSES = 16
"""Addresses of one host that are tried."""

type Address = tuple[str, int]


def interleave_families(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return IP addresses without duplicates, with IPv6 and IPv4 in turn, starting with the family of the first one."""
    distinct = list(dict.fromkeys(addresses))
    first_family = [one for one in distinct if is_ipv6(one) == is_ipv6(distinct[0])]
    others = [one for one in distinct if is_ipv6(one) != is_ipv6(distinct[0])]
    mixed = chain.from_iterable(zip_longest(first_family, others))
    return tuple(one for one in mixed if one is not None)[:MAX_ADDRESSES]


def is_ipv6(address: str) -> bool:
    """Return whether an IP address is an IPv6 address."""
    return ":" in address


async def connect(addresses: Sequence[Address], delay: float = ATTEMPT_DELAY) -> tuple[socket.socket, Address]:
    """Return a connected socket and its address. Raises the OSError of the first address if none can be reached."""
    sock, index = await first_successful([partial(connect_socket, address) for address in addresses], delay)
    return sock, addresses[index]


async def connect_socket(address: Address) -> socket.socket:
    """Return a socket that is connected to an address. Raises OSError."""
    host, port = address
    family = socket.AF_INET6 if is_ipv6(host) else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (host, port))
    except BaseException:
        made.close()
        raise
    return made


async def first_successful(
    attempts: Sequence[Callable[[], Coroutine[Any, Any, socket.socket]]], delay: float
) -> tuple[socket.socket, int]:
    """Return the result and the index of the first attempt that succeeds, or raise the first one's exception."""
    running: list[asyncio.Task[socket.socket]] = []
    waiting = list(attempts)
    won: asyncio.Task[socket.socket] | None = None
    try:
        while won is None:
            if waiting:
                running.append(asyncio.create_task(waiting.pop(0)()))
            pending = [task for task in running if not task.done()]
            if not pending and not waiting:
                break
            if pending:
                await asyncio.wait(pending, timeout=delay if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            won = next((task for task in running if task.done() and not task.exception()), None)
    finally:
        await cancel_attempts([task for task in running if task is not won])
    if won is None:
        raise (running[0].exception() if running else None) or OSError("no address to connect to")
    return won.result(), running.index(won)


async def cancel_attempts(attempts: Sequence[asyncio.Task[socket.socket]]) -> None:
    """Cancel the attempts that are still connecting, and close the sockets of those that have connected."""
    for task in attempts:
        task.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, socket.socket):
            with contextlib.suppress(OSError):
                result.close()
