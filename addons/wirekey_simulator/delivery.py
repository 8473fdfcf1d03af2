"""Sends one response as its behaviour asks, over either protocol.

Providers' heads and bodies arrive in separate packets, so they do here: the body follows a moment after the head.
A task sends the response, and the connection cancels it if the client disconnects. With `at-once`, a whole body without
a pace or a fault goes out in one write, in the same turn of the event loop that received the request.
"""

from __future__ import annotations

import asyncio
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import brotli  # type: ignore[import-untyped]  # ships no types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.exchange import Seen, SimulatedResponse

YIELD_EVERY = 16
"""Pieces to write before yielding to other tasks."""
ARRIVAL = 0.02
"""Seconds to wait before a TCP RST, which would overtake bytes on their way."""
APART = 0.002
"""Seconds between two writes that must arrive separately: long enough for a reader to see the first one alone."""
PAUSED_CHUNKS = 4
"""Chunks to cut a body with pauses into. In a stream: the number of events sent with pauses."""
RUBBISH = b"\x00\xff\x16\x03rubbish\r\n\r\n<<< this is not HTTP >>>\r\n" * 4


class StreamedRequest(Protocol):
    """Reads a request that streams while its response does."""

    behaviour: Behaviour

    def feed(self, data: bytes) -> None:
        """Read a part of the request."""

    def end(self) -> None:
        """Note the end of the request."""


class Wire(Protocol):
    """The sending half of one exchange."""

    two_way: StreamedRequest | None
    """Set for a request that streams while its response does. Only HTTP/2 has these."""

    def head(self, status: int, headers: list[tuple[str, str]], length: int | None) -> None:
        """Send status and headers. `length`: bytes of the body, or None if unknown."""

    def data(self, data: bytes) -> None:
        """Send a part of the body."""

    def end(self) -> None:
        """End the body."""

    def whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send head and body in one write."""

    def interim(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send an interim response such as 103."""

    def trickle(self) -> None:
        """Send the next bytes one by one."""

    def last(self, *, accepted: bool) -> None:
        """Close the connection after this exchange. If not `accepted`, close without a response."""

    async def data_with_pauses(self, data: bytes, seconds: float) -> None:
        """Send a part of the body in two writes, with a pause of `seconds` between them."""

    async def drained(self) -> None:
        """Wait until the client has read enough to write more."""

    def reset(self) -> None:
        """Break the exchange off with RST or RST_STREAM."""

    def close(self) -> None:
        """Break the exchange off without an error."""

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""


class Gate:
    """Holds streams before their second event. Each `open` releases the streams that wait."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self.waiting = 0

    async def passed(self) -> None:
        """Wait until the gate opens."""
        opened = self._opened
        self.waiting += 1
        try:
            await opened.wait()
        finally:
            self.waiting -= 1

    def open(self) -> int:
        """Release the waiting streams. Return their number."""
        self._opened.set()
        self._opened = asyncio.Event()
        return self.waiting


class Encoder:
    """Content encoding of a body in pieces. A client can decode each piece as soon as it arrives."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.name = "br" if behaviour.br else "gzip" if behaviour.gzip else None
        self._br = brotli.Compressor(quality=4) if behaviour.br else None
        self._gzip = zlib.compressobj(wbits=31) if self.name == "gzip" else None

    def feed(self, data: bytes) -> bytes:
        """Return a piece, encoded and flushed."""
        if self._br:
            return bytes(self._br.process(data) + self._br.flush())
        if self._gzip:
            return self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        return data

    def end(self) -> bytes:
        """Return the last encoded bytes."""
        if self._br:
            return bytes(self._br.finish())
        return self._gzip.flush() if self._gzip else b""


def deliver_at_once(response: SimulatedResponse, behaviour: Behaviour, wire: Wire, seen: Seen) -> bool:
    """Send a whole body in one write. Return False, without sending, if the response needs a task."""
    if response.pieces is not None or not behaviour.is_plain:
        return False
    headers, body = response.headers, response.body
    if behaviour.gzip or behaviour.br:
        encoder = Encoder(behaviour)
        body = encoder.feed(body) + encoder.end()
        headers = [*headers, ("content-encoding", str(encoder.name))]
    # Before it is sent: a test may look as soon as it has the response.
    seen.outcome = "completed"
    wire.whole(response.status, headers, body)
    return True


async def deliver(response: SimulatedResponse, behaviour: Behaviour, wire: Wire, seen: Seen, gate: Gate) -> None:
    """Send a response. Note in `seen` how many events were sent and how it ended."""
    try:
        if behaviour.headers_delay:
            await asyncio.sleep(behaviour.headers_delay)
        if behaviour.disown:
            seen.outcome = "fault"
            wire.last(accepted=False)
            return
        if behaviour.rubbish:
            seen.outcome = "fault"
            wire.raw(RUBBISH)
            await asyncio.sleep(ARRIVAL)
            wire.close()
            return
        if behaviour.strikes_at == 0:
            await _strike(behaviour, wire, seen)
            return
        await _play(response, behaviour, wire, seen, gate)
    except asyncio.CancelledError:
        seen.outcome = seen.outcome or "client_gone"
        raise


async def _play(response: SimulatedResponse, behaviour: Behaviour, wire: Wire, seen: Seen, gate: Gate) -> None:
    encoder = Encoder(behaviour)
    headers = [*response.headers, ("content-encoding", encoder.name)] if encoder.name else response.headers
    pieces = _pieces(response, behaviour)
    is_counted = response.pieces is None and not encoder.name and not behaviour.pauses
    await _begin(behaviour, wire)
    wire.head(response.status, headers, len(response.body) if is_counted else None)
    if not behaviour.at_once:
        await wire.drained()
        await asyncio.sleep(APART)
    for number, piece in enumerate(pieces):
        if number:
            await _pause(number, behaviour, gate)
        seen.events = number + 1
        is_cut = behaviour.cut and behaviour.strikes_at == seen.events
        sent = piece[: len(piece) // 2] if is_cut else piece
        for part in _split(encoder.feed(sent), _part_size(response, behaviour)):
            if behaviour.pauses and number < PAUSED_CHUNKS:
                await wire.data_with_pauses(part, APART)
            else:
                wire.data(part)
            await wire.drained()
            if behaviour.split:
                await asyncio.sleep(0)
        if behaviour.strikes_at == seen.events:
            await _strike(behaviour, wire, seen)
            return
    if tail := encoder.end():
        wire.data(tail)
    seen.outcome = "completed"
    wire.end()


async def _begin(behaviour: Behaviour, wire: Wire) -> None:
    """Send what comes before the head."""
    if behaviour.bytewise:
        wire.trickle()
    if behaviour.ends_connection:
        wire.last(accepted=True)
    if behaviour.hints:
        wire.interim(103, [("link", "</style.css>; rel=preload; as=style")])
        await wire.drained()
        await asyncio.sleep(APART)


def _part_size(response: SimulatedResponse, behaviour: Behaviour) -> int | None:
    if behaviour.pauses and response.pieces is None and not behaviour.split:
        return max(1, -(-len(response.body) // PAUSED_CHUNKS))
    return behaviour.split


async def _pause(number: int, behaviour: Behaviour, gate: Gate) -> None:
    if behaviour.gate and number == 1:
        await gate.passed()
    if behaviour.pace:
        await asyncio.sleep(behaviour.pace)
    elif number % YIELD_EVERY == 0:
        await asyncio.sleep(0)


async def _strike(behaviour: Behaviour, wire: Wire, seen: Seen) -> None:
    at = behaviour.strikes_at
    seen.outcome = "fault"
    if behaviour.stall_after == at:
        await asyncio.Event().wait()
    elif behaviour.reset_after == at:
        await wire.drained()
        await asyncio.sleep(ARRIVAL)
        wire.reset()
    else:
        wire.close()


def _pieces(response: SimulatedResponse, behaviour: Behaviour) -> Iterator[bytes]:
    """Return the pieces to send: those of the response and those that the behaviour adds."""
    if response.pieces is None:
        middle = max(1, len(response.body) // 2) if behaviour.strikes_at is not None else len(response.body)
        body = response.body if behaviour.strikes_at is None else response.body[:middle]
        # A body that is not a stream has one event, so a fault after any number of events strikes in its middle.
        yield body
        yield from ([b""] * (behaviour.strikes_at or 0))
        return
    pieces: Iterable[bytes] = response.pieces
    if behaviour.error_after is not None:
        pieces = _chain(islice(pieces, behaviour.error_after), response.error_piece)
    events = any(name == "content-type" and value.startswith("text/event-stream") for name, value in response.headers)
    for number, piece in enumerate(pieces):
        if behaviour.garble_after == number:
            yield response.garbled_piece
        yield _styled(piece, behaviour) if events else piece


def _chain(pieces: Iterable[bytes], last: bytes) -> Iterator[bytes]:
    yield from pieces
    yield last


def _styled(piece: bytes, behaviour: Behaviour) -> bytes:
    """Return the SSE event in another of its allowed spellings. JSON text has no line ends of its own."""
    if behaviour.tight:
        piece = piece.replace(b"\ndata: ", b"\ndata:").replace(b"event: ", b"event:", 1)
        piece = b"data:" + piece[6:] if piece.startswith(b"data: ") else piece
    if behaviour.comments:
        piece = b": keep-alive\n\n" + piece
    return piece.replace(b"\n", b"\r\n") if behaviour.crlf else piece


def _split(data: bytes, size: int | None) -> Iterator[bytes]:
    if not size or len(data) <= size:
        yield data
        return
    for start in range(0, len(data), size):
        yield data[start : start + size]
