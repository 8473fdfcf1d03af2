"""Measures the delay of the event loop, and keeps the stage that follows from it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING

from wirekey.features.load_shedding.stages import Bounds, Stage, Stages

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config
    from wirekey.core.calls.services import Services
    from wirekey.feature import FeatureValues

logger = logging.getLogger(__name__)

INTERVAL = 0.05
"""Seconds between two measurements."""
NAMES = {
    Stage.CONNECTIONS: "new connections",
    Stage.LARGE_BODIES: "large bodies",
    Stage.MODEL_LISTS: "lists of models",
    Stage.CALLS: "calls",
}


class LoadMonitor:
    """The stage of this process, and how often each stage has refused something.

    The delay is the time from the moment at which a timer is due until the event loop runs it: between one and two
    turns of the loop. A call needs several turns, and waits for all other work in each.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.stage = Stage.NOTHING
        self.since = math.inf
        """Unix time at which the first stage began, or infinity while nothing is refused."""
        self.delay = 0.0
        """Seconds, as measured last."""
        self.refused = dict.fromkeys(NAMES, 0)
        self._stages = Stages()
        self._highest = Stage.NOTHING
        self._timer: asyncio.TimerHandle | None = None
        self._prepare: Callable[[], None] | None = None
        self._due = 0.0

    @property
    def bounds(self) -> Bounds | None:
        """The bounds by the settings in use, or None if nothing is refused."""
        return self.services.settings.features.find(Bounds)

    def prepare(self, action: Callable[[], None]) -> None:
        """Call `action` once before the first measurement, or now if there was one."""
        if self._timer:
            action()
        else:
            self._prepare = action

    def begin(self) -> None:
        """Measure from now on, in the running event loop. After a reload, continue or stop as it says."""
        if self.bounds is None:
            self.end()
        elif self._timer is None:
            if prepare := self._prepare:
                self._prepare = None
                prepare()
            self._measure_later()

    def end(self) -> None:
        """Stop to measure, and refuse nothing any more."""
        if self._timer:
            self._timer.cancel()
        self._timer, self._stages = None, Stages()
        self._use(Stage.NOTHING)

    def count(self, stage: Stage) -> None:
        """Count one refusal."""
        self.refused[stage] += 1

    def _measure_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + INTERVAL
        self._timer = loop.call_at(self._due, self._measured)

    def _measured(self) -> None:
        bounds = self.bounds
        if bounds is None:
            self.end()
            return
        self.delay = max(0.0, asyncio.get_running_loop().time() - self._due)
        self._use(self._stages.measured(self.delay, bounds.lag))
        self._measure_later()

    def _use(self, stage: Stage) -> None:
        before, self.stage = self.stage, stage
        if stage > before is Stage.NOTHING:
            self.since = time.time()
        if stage > self._highest:
            self._highest = stage
            logger.warning(
                "Too much work: the event loop is %.2f s late. %s are refused with 503 from now on "
                "(stage %d of limits.load_shedding).",
                self.delay,
                NAMES[stage].capitalize(),
                stage,
            )
        if before > stage is Stage.NOTHING:
            self.since, self._highest = math.inf, Stage.NOTHING
            counted = ", ".join(f"{number} {NAMES[each]}" for each, number in self.refused.items())
            logger.warning("Nothing is refused any more. Refused since the start: %s.", counted)


def open_monitor(_: Config, services: Services) -> LoadMonitor:
    """Return the monitor of this process."""
    return LoadMonitor(services)


def begin(opened: FeatureValues) -> None:
    """Begin to measure, or continue after a reload."""
    if monitor := opened.find(LoadMonitor):
        monitor.begin()


async def end(opened: FeatureValues) -> None:
    """Stop to measure."""
    if monitor := opened.find(LoadMonitor):
        monitor.end()
