"""Samples refused calls without an agent, so that nobody can fill disk and log without a token."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING

from wirekey.core.audit.sampling import WINDOW, RefusalSample
from wirekey.core.call import Call, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

RECORDED_PER_MINUTE = 100
"""Refusals of one client address that are recorded individually. More of them say nothing new."""
LATE = 0.1
"""Seconds after the end of a minute at which it is summarised."""


class Refusals:
    """Decides which of them are recorded, and records a summary of the others at the end of their minute."""

    def __init__(self, record: Callable[[Call], None]) -> None:
        self.record = record
        self.sample = RefusalSample()
        self.timer: asyncio.TimerHandle | None = None

    def admits(self, call: Call) -> bool:
        """Return whether a call that has ended is recorded individually."""
        if call.agent is not None or call.outcome is not Outcome.DENIED or call.intent_recorded:
            return True
        return self.admits_line(call.client or "")

    def admits_line(self, address: str) -> bool:
        """Return whether an event of this address without a token is logged individually."""
        if self.sample.admits(address, time.monotonic(), RECORDED_PER_MINUTE):
            return True
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(WINDOW + LATE, self.summarise)
        return False

    def summarise(self, now: float | None = None) -> None:
        """Record how many were dropped in each minute that is over. `now`: seconds of the monotonic clock."""
        self.timer = None
        for address, dropped in self.sample.take_ended(time.monotonic() if now is None else now):
            reason = f"{dropped} more refusals of requests without an agent, from {address}, were not recorded"
            logger.warning("%s", reason)
            summary = Call(client=address, method="summary", outcome=Outcome.DENIED, policy_result="deny")
            summary.policy_reason, summary.refusal_code = f"refusals_dropped: {reason}", "refusals_dropped"
            self.record(summary)
        if any(window.dropped for window in self.sample.windows.values()):
            self.timer = asyncio.get_running_loop().call_later(WINDOW, self.summarise)

    def close(self) -> None:
        """Record what is not summarised yet."""
        if self.timer:
            self.timer.cancel()
        self.summarise(math.inf)
