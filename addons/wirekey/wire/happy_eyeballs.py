"""Connecting to the first of several addresses that answers: Happy Eyeballs (RFC 8305).

The addresses were resolved and checked elsewhere. Each is tried in turn, a moment after the one before, or once
that failed; the first connection wins, and the others are closed.
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
"""Seconds that an address has before the next one is tried beside it."""
MAX_ADDRESSES = 16
"""Of one name; more are not tried."""

type Address = tuple[str, int]


def interleave_families(addresses: Iterable[str]) -> tuple[str, ...]:
    """Give IP addresses without repetition, the families in turn, beginning with that of the first one."""
    distinct = list(dict.fromkeys(addresses))
    first_family = [one for one in distinct if is_ipv6(one) == is_ipv6(distinct[0])]
    others = [one for one in distinct if is_ipv6(one) != is_ipv6(distinct[0])]
    mixed = chain.from_iterable(zip_longest(first_family, others))
    return tuple(one for one in mixed if one is not None)[:MAX_ADDRESSES]


def is_ipv6(address: str) -> bool:
    return ":" in address


async def connect(addresses: Sequence[Address], stagger: float = ATTEMPT_DELAY) -> tuple[socket.socket, Address]:
    """Give a connected socket, and the address that answered first. Raises OSError: why the first one did not."""
    won, place = await first_successful([partial(connected, address) for address in addresses], stagger)
    return won, addresses[place]


async def connected(address: Address) -> socket.socket:
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
    tries: Sequence[Callable[[], Coroutine[Any, Any, socket.socket]]], stagger: float
) -> tuple[socket.socket, int]:
    """Give what the first try gave that succeeded, and its place. Raises the first one's exception."""
    running: list[asyncio.Task[socket.socket]] = []
    waiting = list(tries)
    won: asyncio.Task[socket.socket] | None = None
    try:
        while won is None:
            if waiting:
                running.append(asyncio.create_task(waiting.pop(0)()))
            pending = [task for task in running if not task.done()]
            if not pending and not waiting:
                break
            if pending:
                await asyncio.wait(pending, timeout=stagger if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            won = next((task for task in running if task.done() and not task.exception()), None)
    finally:
        await discard([task for task in running if task is not won])
    if won is None:
        raise (running[0].exception() if running else None) or OSError("there is no address")
    return won.result(), running.index(won)


async def discard(losers: Sequence[asyncio.Task[socket.socket]]) -> None:
    """Cancel what still connects, and close what has connected in vain."""
    for task in losers:
        task.cancel()
    for outcome in await asyncio.gather(*losers, return_exceptions=True):
        if isinstance(outcome, socket.socket):
            with contextlib.suppress(OSError):
                outcome.close()
