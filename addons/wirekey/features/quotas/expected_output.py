"""How much output calls are expected to have: the 90th percentile of the last ones of the same kind. Pure."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.operation import Usage

PERCENTILE = 0.9
SAMPLES = 50
"""The last calls of a kind that are remembered."""
ENOUGH = 5
"""With fewer samples, at least `START` is expected."""
START = 1000
"""Tokens of output that are expected of a call of which too few are known."""
MOST_KINDS = 2000
"""Kinds of calls that are remembered. Beyond this, the one without a call for the longest time is forgotten."""


class CallKind(NamedTuple):
    """The calls whose output is alike."""

    agent: str
    model: str
    operation: str


class Output(NamedTuple):
    """The output tokens of a call: those that a stream shows, and the reasoning that it may hide."""

    shown: int
    hidden: int = 0


class OutputEstimates:
    """The output of the last calls of each kind."""

    def __init__(self) -> None:
        self._samples: dict[CallKind, deque[Output]] = {}

    def note(self, kind: CallKind, output: Output) -> None:
        """Note the output of a call that has ended."""
        samples = self._samples.pop(kind, None)
        if samples is None:
            samples = deque(maxlen=SAMPLES)
            if len(self._samples) >= MOST_KINDS:
                del self._samples[next(iter(self._samples))]
        samples.append(output)
        self._samples[kind] = samples

    def note_usage(self, kind: CallKind, usage: Usage) -> None:
        """Note what a whole response has used, if its output was counted."""
        if usage.output_tokens is not None:
            hidden = usage.reasoning_tokens or 0
            self.note(kind, Output(max(0, usage.output_tokens - hidden), hidden))

    def expected(self, kind: CallKind) -> Output:
        """Return the output that the next call of a kind is expected to have at most."""
        samples = self._samples.get(kind, ())
        shown = percentile([output.shown for output in samples])
        hidden = percentile([output.hidden for output in samples])
        return Output(shown if len(samples) >= ENOUGH else max(shown, START), hidden)


def percentile(amounts: Sequence[int]) -> int:
    """Return the smallest amount that `PERCENTILE` of all do not exceed. 0 without amounts."""
    return sorted(amounts)[math.ceil(len(amounts) * PERCENTILE) - 1] if amounts else 0
