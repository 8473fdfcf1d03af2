"""The questions of the wire layer about the messages of a WebSocket, and the decisions that answer them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mitmproxy.proxy.commands import StartHook
from wsproto.frame_protocol import CloseReason

from wirekey.core.call import Outcome
from wirekey.features.realtime.config import WebSocketSetting

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.config import Config


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """Limits of each direction of a WebSocket."""

    message_bytes: int = 16 * 1024 * 1024
    messages_per_second: int = 100
    bytes_per_second: int = 10 * 1024 * 1024
    client_message_bytes: int | None = None
    """The limit of a message of the client, if it differs from the provider's."""


def configured_limits(config: Config) -> WebSocketLimits:
    """Return the limits of WebSockets that are configured."""
    limits = config.limits.part(WebSocketSetting).websocket
    return WebSocketLimits(limits.message_bytes, limits.messages_per_second, limits.bytes_per_second)


@dataclass(frozen=True, slots=True)
class Closing:
    """Why Wirekey closes a connection."""

    code: int
    reason: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class MessageDecision:
    """The decision on a message of the client.

    `payload`: what is sent instead of it. `reply`: a message to the client.
    """

    forward: bool
    payload: bytes | None = field(default=None, repr=False)
    reply: bytes | None = None
    closing: Closing | None = None


FORWARD = MessageDecision(forward=True)
UNDECIDED = MessageDecision(
    forward=False, closing=Closing(CloseReason.INTERNAL_ERROR, "internal error", Outcome.INTERRUPTED)
)
"""The decision on a message when deciding has failed."""


@dataclass(slots=True)
class PendingDecision:
    """A message whose decision takes a while. The hook `decide_message` sets the decision."""

    waiting: Awaitable[MessageDecision] = field(repr=False)
    decision: MessageDecision = UNDECIDED


@dataclass
class DecideMessageHook(StartHook):
    """Decides on a message of a client, while frames of the provider are relayed."""

    pending: PendingDecision


class WebSocketSession(Protocol):
    """Decides on the messages of a connection, and learns from those of the provider. No method blocks or raises."""

    @property
    def limits(self) -> WebSocketLimits:
        """Return the limits of the connection."""

    @property
    def idle(self) -> float:
        """Return the seconds without a frame after which the connection is closed."""

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """Return the secrets that no frame of the provider may show."""

    def decide(self, payload: bytes) -> MessageDecision | Awaitable[MessageDecision]:
        """Decide on a message of the client."""

    def observe(self, payload: bytes) -> None:
        """Learn from a message of the provider, which the client has or gets."""

    def notice(self) -> bytes | None:
        """Return a message that announces the end of the connection to the client, or None."""

    def due(self) -> Closing | None:
        """Return why the connection must be closed now, or None."""

    def end(self, outcome: Outcome, reason: str | None, received: int, sent: int) -> None:
        """Note the end of the connection. `received` and `sent`: bytes of the client and to it."""


class WebSocketCall(Protocol):
    """The call that opens a WebSocket. No method raises."""

    def key_to_accept(self, flow: http.HTTPFlow) -> str | None:
        """Return the client's Sec-WebSocket-Key if the call is decided by its first message; else None."""

    def closing(self, flow: http.HTTPFlow) -> tuple[int, str]:
        """Return the close code and reason of a WebSocket whose call was refused. No hook has seen its end."""

    def session(self, flow: http.HTTPFlow) -> WebSocketSession | None:
        """Return what decides the messages of a WebSocket that was opened, or None if that failed."""
