"""HTTP/2 with those who say goodbye early.

A GOAWAY means that its sender takes no more streams than it names; those that run go on (RFC 9113, section 6.8). h2
takes it for the end of the connection and refuses what comes after. The AWS SDK for Node sends one, as a client, once
the head of an answer is there; providers send one before they close a connection, for instance for an update.
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
    """The server takes no stream above this one."""

    last_stream_id: int


class GoawayTolerantConnection(H2Connection):
    """Goes on until the connection is closed; as the server, also until the client names an error."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        if self.config.client_side:
            return [], [GoingAway(frame.last_stream_id)]
        if frame.error_code == ErrorCodes.NO_ERROR:
            return [], []
        return super()._receive_goaway_frame(frame)
