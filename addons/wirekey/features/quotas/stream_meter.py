"""Compares what a stream has written with what its call has reserved, asks for more in time, and ends it if refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wirekey.core.errors import Refusal
from wirekey.core.metering.deltas import DeltaCounter
from wirekey.features.quotas.estimate import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from wirekey.core.metering.deltas import CountedStream
    from wirekey.features.quotas.enforcement import QuotaEnforcer
    from wirekey.features.quotas.growth import Growth
    from wirekey.features.quotas.hold import Hold

STEP = 1000
"""Tokens of output by which a reservation is extended."""
AHEAD = STEP // 2
"""Tokens before the end of a reservation at which more is asked for. A small one has a quarter of it."""
AGAIN = STEP // 8
"""Tokens after which it is asked again, if more was refused before the reservation was used up."""


class StreamMeter:
    """The `ResponseMeter` of a call whose quotas reserve what is expected."""

    def __init__(self, enforcer: QuotaEnforcer, hold: Hold, growth: Growth, reader: CountedStream) -> None:
        assert reader.texts
        reader.deltas = self._deltas = DeltaCounter(reader.texts)
        self.reader = reader
        self.refusal: Refusal | None = None
        self._enforcer, self._hold, self._growth = enforcer, hold, growth
        self._asking = False
        self._ask_ahead()
        growth.written = growth.hidden

    def note(self) -> None:
        """Note what the stream has written, and ask for more if its reservation is nearly used up."""
        growth, usage = self._growth, self.reader.usage
        shown = self._deltas.counted // BYTES_PER_TOKEN
        growth.written = min(growth.most, max(growth.hidden + shown, usage.output_tokens or 0))
        if growth.written < self._ask_at or self._asking or self._has_ended or growth.tokens >= growth.most:
            return
        try:
            waiting = self._enforcer.extend(self._hold, min(growth.most, growth.written + STEP))
        except Refusal as refusal:
            self._note_refused(refusal)
            return
        if waiting is None:
            self._ask_ahead()
            return
        self._asking = True
        growth.extending = asyncio.ensure_future(waiting)
        growth.extending.add_done_callback(self._note_result)

    @property
    def _has_ended(self) -> bool:
        """Whether the model has ended its output. Its token counts may follow."""
        reader = self.reader
        return reader.finished or reader.usage.finish_reason is not None or reader.error_type is not None

    def _note_result(self, asked: asyncio.Future[None]) -> None:
        self._asking = False
        if asked.cancelled():
            return
        error = asked.exception()
        if isinstance(error, Refusal):
            self._note_refused(error)
        elif error is None:
            self._ask_ahead()

    def _ask_ahead(self) -> None:
        reserved = self._growth.tokens
        self._ask_at = reserved - min(AHEAD, reserved // 4)

    def _note_refused(self, refusal: Refusal) -> None:
        reserved, written = self._growth.tokens, self._growth.written or 0
        if written >= reserved and not self._has_ended:
            self.refusal = refusal
        self._ask_at = min(reserved, written + AGAIN)
