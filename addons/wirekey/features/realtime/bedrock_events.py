"""The events that a client sends over Bedrock's two-way operation: which of them may begin a turn.

An event is a frame of AWS's event-stream format. Its payload is `{"bytes": "…"}`, with the JSON of the event in base64.
https://docs.aws.amazon.com/nova/latest/userguide/input-events.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.core.errors import Refusal
from wirekey.core.metering.json_response import DECODE_ERRORS
from wirekey.core.operation import Facts
from wirekey.features.realtime.messages import Asks, ClientMessage
from wirekey.providers.request_edits import uncapped
from wirekey.providers.request_json import read_object

if TYPE_CHECKING:
    from wirekey.features.realtime.messages import ServerMessage

NO_INPUT = frozenset({"sessionStart", "promptStart", "contentEnd", "promptEnd", "sessionEnd"})
"""Events that a model does not respond to. All others, also unknown ones, may begin a turn."""
PRELUDE, CHECKSUM = 12, 4


class _Chunk(msgspec.Struct):
    event: bytes = msgspec.field(name="bytes")


_chunk = msgspec.json.Decoder(_Chunk)


class TwoWayEvents:
    """The events of a two-way stream, in terms of `RealtimeProtocol`."""

    def read_client(self, payload: bytes) -> ClientMessage:
        """Return what a signed event asks for. Never raises: an event that cannot be read may begin a turn."""
        return ClientMessage(Asks.RESPONSE if may_begin_turn(payload) else Asks.NOTHING, Facts(stream=True))

    def read_server(self, payload: bytes) -> tuple[ServerMessage, ...]:
        """Return nothing: `TwoWayStream` reads what the model sends."""
        return ()

    def with_limit(self, payload: bytes, message: ClientMessage, cap: int) -> bytes:
        """Raise Refusal(403): Wirekey changes no event."""
        raise uncapped("a stream of events")

    def error(self, refusal: Refusal, message: ClientMessage | None, call_id: str) -> bytes | None:
        """Return None: a refused turn ends the stream with an exception."""

    def going_away(self, seconds: int) -> bytes | None:
        """Return None: the stream ends with an exception after the running turn."""


def may_begin_turn(payload: bytes) -> bool:
    """Return whether a model may respond to an event. `payload`: of the signed frame, which is empty at the end.

    A model may also respond to an event that can be read in two ways, as with a member that appears twice.
    """
    if not payload:
        return False
    chunk = payload[PRELUDE + int.from_bytes(payload[4:8]) : -CHECKSUM]
    try:
        read_object(chunk, "chunk")
        event = read_object(_chunk.decode(chunk).event, "chunk.bytes").child("event")
    except (Refusal, *DECODE_ERRORS):
        return True
    return event is None or not event.values.keys() <= NO_INPUT
