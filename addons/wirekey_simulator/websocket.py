"""A WebSocket of the simulator, with wsproto, which checks every frame."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import RemoteProtocolError, generate_accept_token

from wirekey_simulator.exchange import BadRequest, SimulatedResponse, encode

if TYPE_CHECKING:
    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.connection import SimulatorConnection
    from wirekey_simulator.exchange import Seen, SimulatedRequest

HALF_FRAME = b"\x81\x7e\x01\x00half of a frame"
MASKED_FRAME = b"\x81\x82\x00\x00\x00\x00{}"
RECORDED = 10_000
"""Bytes of the messages of a client that are kept."""
LONGEST_REASON = 120


class RespondingPeer(Protocol):
    """One side of a conversation on a connection: the provider."""

    def opened(self, socket: SimulatedWebSocket) -> None:
        """Send the first events."""

    def received(self, socket: SimulatedWebSocket, event: dict[str, Any]) -> None:
        """Respond to an event of the client. Raises BadRequest."""

    def refused(self, error: BadRequest, event: Any) -> dict[str, Any] | None:
        """Return the event that reports an error; None if it closes the connection."""


@dataclass(slots=True)
class Upgrade(SimulatedResponse):
    """The response (101) that opens a WebSocket, and the conversation on it."""

    conversation: RespondingPeer = field(kw_only=True)


def opening(request: SimulatedRequest, conversation: RespondingPeer, protocols: tuple[str, ...]) -> Upgrade:
    """Return the response that opens a WebSocket. Raises BadRequest if the request does not ask for one."""
    key = request.header("sec-websocket-key")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        is_key = False
    tokens = [part.strip().lower() for part in request.header("connection").split(",")]
    if request.header("upgrade").lower() != "websocket" or "upgrade" not in tokens or request.protocol != "h1":
        raise BadRequest("Expected 'Upgrade' header to be 'websocket'.", status=400)
    if not is_key or request.header("sec-websocket-version") != "13" or request.body:
        raise BadRequest("The request does not open a WebSocket as RFC 6455 says.")
    headers = [("upgrade", "websocket"), ("connection", "Upgrade")]
    headers.append(("sec-websocket-accept", generate_accept_token(key.encode()).decode()))
    offered = [part.strip() for part in ",".join(request.fields.get("sec-websocket-protocol", [])).split(",")]
    if unknown := [part for part in offered if part and part not in protocols]:
        raise BadRequest(f"The subprotocol {unknown[0][:20]!r} is not known here.")
    if chosen := next((part for part in offered if part), None):
        headers.append(("sec-websocket-protocol", chosen))
    deflate = PerMessageDeflate()
    offers = request.fields.get("sec-websocket-extensions", [])
    accepted = server_extensions_handshake(offers, [deflate]) if offers else None
    if accepted:
        headers.append(("sec-websocket-extensions", accepted.decode()))
    return Upgrade(101, headers, conversation=conversation)


class SimulatedWebSocket:
    """One open connection. It counts what it sends as events, and breaks off where the behaviour says so.

    `truncate-after` disconnects, `reset-after` resets, `stall-after` sends nothing more, also no pong, `garble-after`
    sends half a frame and disconnects, `mask-after` sends a masked frame, `error-after` closes with 1011, and `no-done`
    closes without a code after a response. `gate` holds back everything after the first event until the gate is opened.
    """

    def __init__(self, connection: SimulatorConnection, response: Upgrade, behaviour: Behaviour, seen: Seen) -> None:
        self.connection, self.conversation, self.behaviour, self.seen = (
            connection,
            response.conversation,
            behaviour,
            seen,
        )
        chosen = dict(response.headers).get("sec-websocket-extensions")
        deflate = PerMessageDeflate()
        if chosen:
            deflate.finalize(chosen)
        extensions: list[Extension] = [deflate] if chosen else []
        self.state = Connection(ConnectionType.SERVER, extensions)
        self.parts: list[bytes] = []
        self.is_silent = False
        self.held: list[tuple[dict[str, Any], bool]] | None = None
        """The events that wait at the gate."""
        self.passing: asyncio.Task[None] | None = None
        seen.outcome = None

    def open(self) -> None:
        """Begin."""
        self.conversation.opened(self)

    def receive(self, data: bytes) -> None:
        """Read bytes of the client."""
        if not data or not self.connection.is_open:
            return
        try:
            self.state.receive_data(data)
            for event in self.state.events():
                self._handle(event)
        except RemoteProtocolError as error:
            self.seen.outcome = "fault"
            if error.event_hint is not None:
                self.write(error.event_hint)
            self.connection.close()

    def lost(self) -> None:
        """Note that the client has disconnected."""
        self.seen.outcome = self.seen.outcome or "client_gone"

    def _handle(self, event: Event) -> None:
        if isinstance(event, CloseConnection):
            self.seen.outcome = self.seen.outcome or "completed"
            if self.state.state is ConnectionState.REMOTE_CLOSING:
                self.write(event.response())
            self.connection.close()
        elif isinstance(event, Ping):
            if not self.is_silent:
                self.write(event.response())
        elif isinstance(event, Message):
            data = event.data
            self.parts.append(data.encode() if isinstance(data, str) else bytes(data))
            if event.message_finished:
                whole, self.parts = b"".join(self.parts), []
                self._respond(whole)

    def _respond(self, message: bytes) -> None:
        self.seen.size += len(message)
        self.seen.body = (self.seen.body + message)[:RECORDED]
        try:
            found = msgspec.json.decode(message)
        except msgspec.DecodeError:
            found = None
        if not isinstance(found, dict):
            self.refuse(BadRequest("The event is not a JSON object."), None)
            return
        try:
            self.conversation.received(self, found)
        except BadRequest as error:
            self.refuse(error, found)

    def refuse(self, error: BadRequest, event: Any) -> None:
        """Report an error in the conversation's way: with an event, or by closing the connection."""
        reported = self.conversation.refused(error, event)
        if reported is None:
            self.close(1007, error.message[:LONGEST_REASON])
        else:
            self.say(reported)

    def say(self, event: dict[str, Any], *, binary: bool = False) -> None:
        """Send an event."""
        if self.is_silent or not self.connection.is_open:
            return
        behaviour, sent = self.behaviour, self.seen.events
        if behaviour.gate and sent and self.passing is None:
            self.held = []
            self.passing = asyncio.get_running_loop().create_task(self._pass())
        if self.held is not None:
            self.held.append((event, binary))
            return
        limits = (behaviour.truncate_after, behaviour.reset_after, behaviour.stall_after, behaviour.garble_after)
        if behaviour.mask_after is not None and sent >= behaviour.mask_after:
            self.connection.write(MASKED_FRAME)
        if any(limit is not None and sent >= limit for limit in limits):
            self._break_off()
            return
        if behaviour.error_after is not None and sent >= behaviour.error_after:
            self.close(1011, "The server had an error while processing your request.")
            return
        self.seen.events += 1
        text = encode(event)
        self.write(BytesMessage(data=text) if binary else TextMessage(data=text.decode()))

    async def _pass(self) -> None:
        await self.connection.simulator.gate.passed()
        held, self.held = self.held or [], None
        for event, binary in held:
            self.say(event, binary=binary)

    def _break_off(self) -> None:
        self.seen.outcome, self.is_silent = "fault", True
        if self.behaviour.stall_after is not None:
            return
        if self.behaviour.reset_after is not None:
            self.connection.reset()
            return
        if self.behaviour.garble_after is not None:
            self.connection.write(HALF_FRAME)
        self.connection.close()

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close the connection."""
        if self.state.state is ConnectionState.OPEN and not self.is_silent:
            self.seen.outcome, self.is_silent = "completed", True
            self.write(CloseConnection(code=code, reason=reason or None))

    def write(self, event: Event) -> None:
        """Write an event as a frame."""
        self.connection.write(bytes(self.state.send(event)))
