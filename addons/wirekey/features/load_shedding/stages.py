"""The stages of load shedding, and the delays of the event loop at which they begin and end. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum


class Stage(IntEnum):
    """How much is refused. Each stage also refuses what those before it refuse."""

    NOTHING = 0
    CONNECTIONS = 1
    LARGE_BODIES = 2
    MODEL_LISTS = 3
    CALLS = 4


BEGINS = (0.0, 1.0, 1.5, 2.0, 3.0)
"""For each stage, the delay at which it begins, as a multiple of the setting."""
ENDS = 0.5
"""A stage ends below this share of the delay at which it begins."""
CONFIRMED = 3
"""Consecutive measurements above the bound that begin a stage. Fewer may be one long task, and what waited for it."""
CALM = 10
"""Consecutive measurements below the bound that end a stage."""
CALM_FOR_CALLS = 1
"""The same for the last stage, in which nothing is left to do soon."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The settings: seconds of delay, and the bytes of a body that is not large yet."""

    lag: float
    large_body: int


class Stages:
    """The stage, as it follows from delays that were measured one after the other.

    Each measurement raises or lowers it by one at most, so the order is kept however fast the delay grows.
    """

    def __init__(self) -> None:
        self.stage = Stage.NOTHING
        self._recent: deque[float] = deque(maxlen=CALM)
        self._since_change = 0

    def measured(self, delay: float, lag: float) -> Stage:
        """Return the stage after one more measurement. `lag`: the setting."""
        self._recent.append(delay)
        self._since_change += 1
        if self.stage < Stage.CALLS and self._is_above(BEGINS[self.stage + 1] * lag):
            self._change(Stage(self.stage + 1))
        elif self.stage and self._is_below(BEGINS[self.stage] * lag * ENDS):
            self._change(Stage(self.stage - 1))
        return self.stage

    def _is_above(self, bound: float) -> bool:
        latest = list(self._recent)[-CONFIRMED:]
        return len(latest) == CONFIRMED and min(latest) >= bound

    def _is_below(self, bound: float) -> bool:
        calm = CALM_FOR_CALLS if self.stage is Stage.CALLS else CALM
        latest = list(self._recent)[-calm:]
        return self._since_change >= calm and max(latest) < bound

    def _change(self, stage: Stage) -> None:
        self.stage, self._since_change = stage, 0
