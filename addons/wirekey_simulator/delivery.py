"""Sends one answer as its behaviour says, over either protocol.

Providers' heads and bodies come in packets of their own, so they do here: the body follows a moment after the head.
An answer is played by a task, which the connection cancels when the client goes away. With `at-once` a whole body
without a pace or a fault goes out in one write, inside the call that received the request.
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
"""Pieces written without a pause before others get their turn."""
ARRIVAL = 0.02
"""Seconds given to bytes on their way before a TCP RST, which would overtake them."""
APART = 0.002
"""Seconds between two writes that are to arrive as two: long enough for a reader to see the first one alone."""
PAUSED_CHUNKS = 4
"""Chunks that a body with pauses is cut into, and of a stream the events that are sent with pauses."""
RUBBISH = b"\x00\xff\x16\x03rubbish\r\n\r\n<<< this is not HTTP >>>\r\n" * 4


class Wire(Protocol):
    """The sending half of one exchange."""

    def head(self, status: int, headers: list[tuple[str, str]], length: int | None) -> None: ...
    def data(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    def interim(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def trickle(self) -> None:
        """Send what comes first byte by byte."""

    def last(self, *, accepted: bool) -> None:
        """Let the connection end after this exchange; not `accepted`: after the one before, and without an answer."""

    async def data_with_pauses(self, data: bytes, seconds: float) -> None: ...
    async def drained(self) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...
    def raw(self, data: bytes) -> None: ...


class Gate:
    """Holds streams before their second event until it is opened; each opening lets through those that wait."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self.waiting = 0

    async def passed(self) -> None:
        opened = self._opened
        self.waiting += 1
        try:
            await opened.wait()
        finally:
            self.waiting -= 1

    def open(self) -> int:
        """Let the waiting streams go on; give their number."""
        self._opened.set()
        self._opened = asyncio.Event()
        return self.waiting


class Encoder:
    """Content encoding of a body in pieces; each piece can be decoded as soon as it is there."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.name = "br" if behaviour.br else "gzip" if behaviour.gzip else None
        self._br = brotli.Compressor(quality=4) if behaviour.br else None
        self._gzip = zlib.compressobj(wbits=31) if self.name == "gzip" else None

    def feed(self, data: bytes) -> bytes:
        if self._br:
            return bytes(self._br.process(data) + self._br.flush())
        if self._gzip:
            return self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        return data

    def end(self) -> bytes:
        if self._br:
            return bytes(self._br.finish())
        return self._gzip.flush() if self._gzip else b""


def deliver_at_once(response: SimulatedResponse, behaviour: Behaviour, wire: Wire, seen: Seen) -> bool:
    """Send a whole body in one write and tell so; False where it takes a task to send the answer."""
    if response.pieces is not None or not behaviour.is_plain:
        return False
    headers, body = response.headers, response.body
    if behaviour.gzip or behaviour.br:
        encoder = Encoder(behaviour)
        body = encoder.feed(body) + encoder.end()
        headers = [*headers, ("content-encoding", str(encoder.name))]
    # Before it is sent: who has the answer may look at once.
    seen.outcome = "completed"
    wire.whole(response.status, headers, body)
    return True


async def deliver(response: SimulatedResponse, behaviour: Behaviour, wire: Wire, seen: Seen, gate: Gate) -> None:
    """Play an answer. `seen` is told how far it came and how it ended."""
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
    """Give the pieces to send: those of the answer, with what the behaviour puts among them."""
    if response.pieces is None:
        middle = max(1, len(response.body) // 2) if behaviour.strikes_at is not None else len(response.body)
        body = response.body if behaviour.strikes_at is None else response.body[:middle]
        # A body that is no stream has one event, so a fault after any number of events strikes in its middle.
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
    """Write SSE in another of its allowed spellings; JSON text holds no line ends of its own."""
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
