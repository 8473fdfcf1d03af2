"""Bedrock's two-way operation: the response streams while the request does, over one HTTP/2 stream."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import msgspec

from wirekey_simulator import sigv4
from wirekey_simulator.bedrock_stream import CONTENT_TYPE
from wirekey_simulator.delivery import APART, ARRIVAL, PAUSED_CHUNKS
from wirekey_simulator.eventstream import exception, garbled
from wirekey_simulator.exchange import BadRequest, encode
from wirekey_simulator.signed_events import EventRejected, SignedEvents
from wirekey_simulator.speech import SpeechModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.delivery import Gate, Wire
    from wirekey_simulator.exchange import Seen, SimulatedRequest
    from wirekey_simulator.sigv4 import Account

SUFFIX = b"/invoke-with-bidirectional-stream"
END = b""
"""An empty event ends a request."""


def is_two_way(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether a request head asks for a stream in both directions."""
    return any(name == b":path" and value.partition(b"?")[0].endswith(SUFFIX) for name, value in headers)


class TwoWayExchange:
    """One connection with a model. `feed` and `end` get the request; `play` sends the response until it ends."""

    def __init__(
        self,
        request: SimulatedRequest,
        behaviour: Behaviour,
        seen: Seen,
        accounts: Mapping[str, str | Account],
    ) -> None:
        self.behaviour = behaviour
        self.seen = seen
        self.model = SpeechModel(behaviour)
        self.events = signed_events(request, accounts)
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        """The frames to send; None ends the response."""
        self.is_over = False

    def feed(self, data: bytes) -> None:
        """Read a part of the request."""
        self.seen.size += len(data)
        if self.is_over:
            return
        try:
            for payload in self.events.feed(data):
                self.seen.received_events += 1
                for frame in self.receive(payload):
                    self.frames.put_nowait(frame)
        except EventRejected as rejected:
            self.fail(str(rejected))
        except BadRequest as bad:
            self.fail(bad.message)
        if self.model.has_ended:
            self.finish()

    def receive(self, payload: bytes) -> Iterator[bytes]:
        """Yield the frames that answer one signed event. Raises BadRequest."""
        if payload == END:
            self.finish()
            return
        try:
            # The event is a frame of its own, with three headers; its payload is {"bytes": base64}.
            start = 12 + int.from_bytes(payload[4:8])
            chunk = base64.b64decode(msgspec.json.decode(payload[start:-4])["bytes"], validate=True)
        except (ValueError, KeyError, TypeError):
            raise BadRequest("The event is not a chunk with bytes.") from None
        try:
            yield from self.model.receive(chunk)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise BadRequest("The event has no member that it needs, or one of a wrong type.") from None

    def end(self) -> None:
        """Note the end of the request."""
        if self.events.received:
            self.fail("The request ended within an event.")
        self.finish()

    def fail(self, reason: str) -> None:
        """End the response with an exception."""
        if not self.is_over:
            self.frames.put_nowait(exception("validationException", encode({"message": reason})))
        self.finish()

    def finish(self) -> None:
        """End the response after what it has so far."""
        if not self.is_over:
            self.is_over = True
            self.frames.put_nowait(None)

    async def play(self, wire: Wire, gate: Gate) -> None:
        """Send the response as the behaviour asks, until the model or the client ends it."""
        behaviour, seen = self.behaviour, self.seen
        try:
            await self.begin(wire)
            while (frame := await self.frames.get()) is not None:
                if behaviour.error_after == seen.events:
                    frame = exception("throttlingException", b'{"message":"Too many requests, as asked."}')
                    self.is_over = True
                    self.frames = asyncio.Queue()
                    self.frames.put_nowait(None)
                if behaviour.garble_after == seen.events:
                    await self.send(wire, garbled("chunk", b'{"bytes":'))
                if behaviour.gate and seen.events == 1:
                    await gate.passed()
                if behaviour.pace:
                    await asyncio.sleep(behaviour.pace)
                seen.events += 1
                struck = behaviour.strikes_at == seen.events
                await self.send(wire, frame[: len(frame) // 2] if struck and behaviour.cut else frame)
                if struck:
                    await self.strike(wire)
                    return
            seen.outcome = "completed"
            wire.end()
        except asyncio.CancelledError:
            seen.outcome = seen.outcome or "client_gone"
            raise

    async def begin(self, wire: Wire) -> None:
        """Send the head, and what comes before it."""
        behaviour = self.behaviour
        if behaviour.headers_delay:
            await asyncio.sleep(behaviour.headers_delay)
        if behaviour.bytewise:
            wire.trickle()
        if behaviour.ends_connection:
            wire.last(accepted=True)
        if behaviour.hints:
            wire.interim(103, [("link", "</style.css>; rel=preload; as=style")])
            await wire.drained()
        wire.head(200, [("content-type", CONTENT_TYPE)], None)
        if not behaviour.at_once:
            await wire.drained()
            await asyncio.sleep(APART)

    async def send(self, wire: Wire, frame: bytes) -> None:
        """Send a frame in the pieces that the behaviour asks for."""
        size = self.behaviour.split or len(frame)
        for start in range(0, len(frame), size):
            part = frame[start : start + size]
            if self.behaviour.pauses and self.seen.events <= PAUSED_CHUNKS:
                await wire.data_with_pauses(part, APART)
            else:
                wire.data(part)
            await wire.drained()

    async def strike(self, wire: Wire) -> None:
        """Break the response off."""
        self.seen.outcome = "fault"
        if self.behaviour.stall_after == self.behaviour.strikes_at:
            await asyncio.Event().wait()
        await wire.drained()
        await asyncio.sleep(ARRIVAL)
        if self.behaviour.reset_after == self.behaviour.strikes_at:
            wire.reset()
        else:
            wire.close()


def signed_events(request: SimulatedRequest, accounts: Mapping[str, str | Account]) -> SignedEvents:
    """Return the reader of a request's events, whose head was verified. Signatures of unknown pairs are not checked."""
    match = sigv4.AUTHORIZATION.fullmatch(request.header("authorization"))
    assert match
    account = accounts.get(match[1])
    secret = account.secret if isinstance(account, sigv4.Account) else account
    return SignedEvents(secret, match[3], match[4], match[7])
