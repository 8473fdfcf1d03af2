"""The end of the calls of a process that is about to stop."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from mitmproxy import ctx

from wirekey.server import listeners

if TYPE_CHECKING:
    from wirekey.core.calls.calls import Calls
    from wirekey.core.calls.drain import Drain

logger = logging.getLogger(__name__)

DRAIN_CHECK = 0.05
IDLE = 1.0
"""Seconds after which a client is not about to use its connection."""
END_LIMIT = 3.0
"""Seconds for calls that are ended to send their last bytes."""


async def drain(state: Drain, calls: Calls, limit: float, accept_for: float, *, awaits_idle: bool) -> None:
    """Finish the calls that have begun, and end those that last longer than `limit` seconds.

    Connections are accepted for `accept_for` seconds more. `awaits_idle`: connections without a call are kept until
    they were idle for a moment, so that no client loses one that it is about to use.
    """
    state.until = time.monotonic() + accept_for + limit
    await asyncio.sleep(accept_for)
    await listeners.stop_listening()
    began = state.last_response = time.monotonic()
    while (now := time.monotonic()) < began + limit:
        is_quiet = now - state.last_response >= IDLE or not ctx.master.addons.get("proxyserver").connections
        if not calls.open_count and (is_quiet or not awaits_idle):
            return
        await asyncio.sleep(DRAIN_CHECK)
    if count := calls.open_count:
        logger.warning("%d calls did not end within timeouts.drain. They are ended now.", count)
    state.ends_calls = True
    deadline = time.monotonic() + END_LIMIT
    while calls.states and time.monotonic() < deadline:  # noqa: ASYNC110  # no event tells of the last one
        await asyncio.sleep(DRAIN_CHECK)
