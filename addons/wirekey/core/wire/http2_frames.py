"""Bounds the work that the HTTP/2 frames of one client make: in one turn of the event loop, and without use.

A read of 256 KiB may hold 15,000 frames of 17 bytes. Handled at once, they hold up all other clients for seconds. So a
turn of the loop handles a few, and the next turn continues. Frames that carry nothing, such as PING, are limited like
resets: HTTP/2 has no use for thousands of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.frame_buffer import FrameBuffer
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, RstStreamFrame

if TYPE_CHECKING:
    from hyperframe.frame import Frame

TURN_COST = 32
"""The cost of the frames that one turn of the loop handles. A frame costs 1, so it is 512 KiB of full frames."""
HEADERS_COST = 8
"""The cost of a HEADERS frame. A request takes longer than a frame of its body."""
FRAME_TYPE = 3
"""The position of the type in the head of a frame (RFC 9113, section 4.1)."""

ALLOWED_EMPTY = 200
"""Frames without content that a client may send in `ALLOWED_SECONDS`, whatever else it does."""
ALLOWED_SECONDS = 10.0
ALLOWED_PER_DATA_FRAME = 4
"""More of them for each DATA frame that the client receives. It opens two windows for it, and may send a PING.

Envoy has limits of the same kind: `max_inbound_window_update_frames_per_data_frame_sent`.
"""
ALLOWED_PER_BYTES = 512
"""One more for this number of bytes that the client receives: some clients open a window for each small read."""
ALLOWED_PER_REQUEST = 10
MOST_ALLOWED = 20_000
CARRYING = frozenset({HeadersFrame, ContinuationFrame, RstStreamFrame})
"""Frames with limits of their own: requests, and resets."""


class TooManyEmptyFrames(ProtocolError):  # noqa: N818  # h2 names its exceptions without "Error"
    """The client sent more frames without content than HTTP/2 has use for."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


class EmptyFrameAllowance:
    """Counts the frames of a client that carry nothing, by the monotonic clock.

    These are PING, SETTINGS, WINDOW_UPDATE, PRIORITY, GOAWAY, unknown frames and DATA frames without data.
    """

    def __init__(self) -> None:
        self.left = ALLOWED_EMPTY
        self.since = 0.0

    def earn(self, frames: int) -> None:
        """Allow more frames, for what the client has requested or received."""
        self.left = min(self.left + frames, MOST_ALLOWED)

    def earn_for(self, sent: list[Frame]) -> None:
        """Allow more frames, for the DATA frames among those that the client is about to receive."""
        for frame in sent:
            if type(frame) is DataFrame:
                self.earn(ALLOWED_PER_DATA_FRAME + len(frame.data) // ALLOWED_PER_BYTES)

    def spend(self, now: float) -> bool:
        """Count a frame at time `now`. Returns whether it is within the limit."""
        if now - self.since >= ALLOWED_SECONDS:
            self.since, self.left = now, max(self.left, ALLOWED_EMPTY)
        self.left -= 1
        return self.left >= 0


def is_empty(frame: Frame) -> bool:
    """Return whether a frame neither carries content nor ends a stream."""
    if type(frame) is DataFrame:
        return not frame.data and "END_STREAM" not in frame.flags
    return type(frame) not in CARRYING


class FramesOfTurn(FrameBuffer):
    """h2's buffer of received bytes. One iteration returns frames up to `TURN_COST`; the next one continues."""

    left = TURN_COST

    @classmethod
    def adopt(cls, buffer: FrameBuffer) -> FramesOfTurn:
        """Turn h2's buffer of a connection into this class."""
        buffer.__class__ = cls
        assert isinstance(buffer, FramesOfTurn)
        return buffer

    @property
    def has_more(self) -> bool:
        """Return whether the last iteration stopped before the end of what was received."""
        return self.left <= 0

    def __iter__(self) -> FramesOfTurn:
        """Begin a turn."""
        self.left = TURN_COST
        return self

    def __next__(self) -> Frame:
        """Return the next frame of this turn."""
        # A reset belongs to the frames before it: a stream that was opened and reset at once is never started.
        if self.left <= 0 and self._data[FRAME_TYPE : FRAME_TYPE + 1] != bytes([RstStreamFrame.type]):
            raise StopIteration
        try:
            frame = super().__next__()
        except StopIteration:
            self.left = max(self.left, 1)
            raise
        self.left -= HEADERS_COST if type(frame) is HeadersFrame else 1
        return frame
