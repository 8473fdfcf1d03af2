"""HTTP/2 connections that continue after a GOAWAY frame.

The sender of a GOAWAY accepts no streams above the one it names; open streams continue (RFC 9113, section 6.8). h2
treats it as the end of the connection and refuses what comes after. The AWS SDK for Node sends one as soon as it has
the head of a response. Providers send one before they close a connection, for example for an update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event

if TYPE_CHECKING:
    from hyperframe.frame import Frame, GoAwayFrame


@dataclass
class GoingAway(Event):
    """The server accepts no streams above `last_stream_id`."""

    last_stream_id: int


class GoawayTolerantConnection(H2Connection):
    """An h2 connection that continues after a GOAWAY, until it is closed.

    As a client it reports the frame as `GoingAway`. As a server it ends if the GOAWAY has an error code.
    """

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        if self.config.client_side:
            return [], [GoingAway(frame.last_stream_id)]
        if frame.error_code == ErrorCodes.NO_ERROR:
            return [], []
        return super()._receive_goaway_frame(frame)
