"""The meaning of the messages of a connection, in terms that all its protocols share."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from wirekey.core.operation import Facts, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.errors import Refusal

SOUND_BYTES_PER_TOKEN = 400
"""Fewer than a message with sound has in Base64: 667 with Gemini's 32 tokens a second and 8 kHz of two bytes, and 1,067
with OpenAI's 10 tokens a second and 8 kHz of one byte."""
LONGEST_NAME = 1024
"""Bytes of a member that names an event, a lane or a response. A connection keeps such names."""


class Asks(Enum):
    """The requests of a message of the client, as far as they are decided."""

    NOTHING = auto()  # it adds input, or cancels; it is passed on
    SETTINGS = auto()  # it changes model, tools or limits of later responses
    RESPONSE = auto()  # it asks for a response


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """One message of the client. `event_id`: the client's own, which the provider's error repeats.

    `lane`: of several whose responses come in order. `previous`: the response that is continued. `tokens`: the most
    that the message adds to the conversation, if its bytes do not tell. `is_apart`: whether the response that it asks
    for has an input of its own in place of the conversation.
    """

    asks: Asks
    facts: Facts = field(default_factory=Facts)
    event_id: str | None = None
    lane: str | None = None
    previous: str | None = None
    tokens: int | None = None
    is_apart: bool = False


class Reports(Enum):
    """The contents of a message of the provider, as far as it is recorded."""

    BEGAN = auto()  # a response
    COUNTED = auto()  # tokens of a response that continues; they add up
    ENDED = auto()  # a response, with its usage
    USED = auto()  # tokens outside of a response, such as for a transcription
    FAILED = auto()  # a message of the client


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """One report in a message of the provider. `id`: of a response. `event_id`: of the client's message that failed."""

    reports: Reports
    id: str | None = None
    usage: Usage | None = None
    succeeded: bool = True
    error_type: str | None = None
    event_id: str | None = None
    lane: str | None = None
    is_within: bool = False
    """Whether a failure is that of a response which has begun."""


def sound_tokens(size: int) -> int:
    """Return the most tokens of a message with `size` bytes of sound."""
    return size // SOUND_BYTES_PER_TOKEN + 1


class RealtimeProtocol(Protocol):
    """Reads the messages of one protocol. Pure; no method keeps a message."""

    def read_client(self, payload: bytes) -> ClientMessage:
        """Return what a message of the client asks for. Raises Refusal(400) if it can be read in two ways."""

    def read_server(self, payload: bytes) -> tuple[ServerMessage, ...]:
        """Return what a message of the provider reports, in order. Never raises."""

    def with_limit(self, payload: bytes, message: ClientMessage, cap: int) -> bytes:
        """Return a message with its limit of output tokens lowered to `cap`. Raises Refusal."""

    def error(self, refusal: Refusal, message: ClientMessage | None, call_id: str) -> bytes | None:
        """Return the message that tells the client of a refusal; None if a refusal closes the connection."""

    def going_away(self, seconds: int) -> bytes | None:
        """Return the message that announces the end of the connection; None if the protocol does not announce it."""


class RequestProtocol(RealtimeProtocol, Protocol):
    """Reads messages that are requests of their own, as by HTTP."""

    def read_members(self, payload: bytes, spans: Mapping[str, tuple[int, int]], facts: Facts) -> ClientMessage:
        """Return what a message asks for whose members and facts were read before. Raises Refusal(400)."""
