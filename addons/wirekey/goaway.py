"""The server's side of HTTP/2 for clients that say goodbye early.

A GOAWAY without error means that its sender opens no more streams; those that run go on (RFC 9113, section 6.8). The
AWS SDK for Node sends one as soon as the head of an answer is there. h2 takes it for the end of the connection and
refuses what the client then says to get the rest of its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.connection import H2Connection
from h2.errors import ErrorCodes

if TYPE_CHECKING:
    from h2.events import Event
    from hyperframe.frame import Frame, GoAwayFrame


class OutlivesGoaway(H2Connection):
    """Goes on until the client closes the connection or names an error."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        if not self.config.client_side and frame.error_code == ErrorCodes.NO_ERROR:
            return [], []
        return super()._receive_goaway_frame(frame)
