"""The response that carries a stream of Bedrock events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey_simulator.eventstream import exception, garbled
from wirekey_simulator.exchange import SimulatedResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def stream_response(pieces: Iterator[bytes], event: str, headers: Iterable[tuple[str, str]] = ()) -> SimulatedResponse:
    """Return a response with a stream of framed events. `event`: the kind of the garbled one, if asked for."""
    return SimulatedResponse(
        200,
        [("content-type", CONTENT_TYPE), *headers],
        pieces=pieces,
        error_piece=exception("throttlingException", b'{"message":"Too many requests (simulated)."}'),
        garbled_piece=garbled(event, b'{"unfinished":'),
    )
