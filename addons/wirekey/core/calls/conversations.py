"""Conversations: calls whose requests come after their opening, over a WebSocket or a stream in two directions.

A feature carries them. Without it, their operations are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.body import WEBSOCKETS, Body
from wirekey.core.errors import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mitmproxy import http
    from mitmproxy.connection import Server
    from mitmproxy.proxy.commands import StartHook

    from wirekey.core.call import Outcome
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.state import CallState
    from wirekey.core.operation import Facts, Operation, ResponseReader
    from wirekey.core.wire.stream import WireStream
    from wirekey.core.wire.takeover import StreamTakeover

type Fields = tuple[tuple[bytes, bytes], ...]

# Codex falls back to HTTP at once after 426, and after another status only after several attempts.
UPGRADE_REFUSED = Refusal(426, "websocket_refused", "This path has no WebSocket, and no other upgrade. Use HTTP.")
NO_WEBSOCKETS = Refusal(
    426,
    "websocket_refused",
    "This installation of Wirekey has no WebSockets, because the feature realtime is missing. Use HTTP.",
    Fault.OPERATOR,
)
NO_TWO_WAY = Refusal(
    403,
    "two_way_refused",
    "This installation of Wirekey has no streams in two directions, because the feature realtime is missing. Use "
    "another operation.",
    Fault.OPERATOR,
)
NOT_SIGNED = Refusal(
    503,
    "no_provider_key",
    "Each event of this operation is signed with AWS credentials, and Wirekey has none for it: an API key does not "
    "work. Its operator sets providers.bedrock.aws in wirekey.yaml.",
    Fault.OPERATOR,
)


@dataclass(frozen=True, slots=True)
class LiveApi:
    """The part of a feature whose provider has Gemini's Live API at the operation `realtime`.

    `facts_of_setup` returns the facts of a `setup` that was read as Gemini's. It may raise Refusal(400).
    """

    provider: str
    facts_of_setup: Callable[[Facts], Facts]


class Conversations:
    """Refuses the conversations of one process. A feature overrides all methods, and carries them.

    A method without `Raises` in its description does not raise then.
    """

    def check_upgrade(self, request: http.Request, headers: Mapping[str, str]) -> None:
        """Raise Refusal(400) unless a request for a WebSocket is a valid one. `headers`: by lower-case name."""

    def open(self, flow: http.HTTPFlow, state: CallState, operation: Operation, query: Mapping[str, str]) -> Operation:
        """Return the operation of a conversation, with its model if the head names it. Raises Refusal."""
        raise NO_WEBSOCKETS if operation.body in WEBSOCKETS else NO_TWO_WAY

    def refusal_of(self, operation: Operation, refusal: Refusal) -> Refusal:
        """Return the refusal of an opening as its client should get it."""
        return refusal

    def takeover(self, stream: WireStream) -> StreamTakeover:
        """Return what opens the WebSocket of a call."""
        raise NO_WEBSOCKETS

    def fields_to_send(self, operation: Operation, fields: Fields) -> Fields:
        """Return the header fields with which a WebSocket is opened at its provider."""
        raise NO_WEBSOCKETS

    def check_upstream(self, state: CallState, server: Server) -> None:
        """Raise Refusal unless the events of a call in two directions can be signed and sent over this connection."""
        raise NO_TWO_WAY

    def sign_events(self, state: CallState, attempt: AttemptState) -> None:
        """Sign the events of a call in two directions from now on. The attempt has the signature of the head."""
        raise NO_TWO_WAY

    def request_parts(self, flow: http.HTTPFlow, state: CallState, data: bytes) -> Iterator[bytes | StartHook]:
        """Yield what is sent of a part of a request in two directions, as `WireDelegate.request_parts` does."""
        raise NO_TWO_WAY

    def reader(self, flow: http.HTTPFlow, state: CallState, content_type: str) -> ResponseReader | None:
        """Return the reader of a response in two directions; None if the response is not in two directions."""
        return None

    def due(self, state: CallState) -> Refusal | None:
        """Return why a call in two directions must end now, or None."""
        return None

    def end(self, state: CallState, outcome: Outcome, reader: ResponseReader | None) -> None:
        """Record the turns of a call in two directions that have not ended."""


def is_two_way(operation: Operation | None) -> bool:
    """Return whether the request of an operation streams while its response does."""
    return operation is not None and operation.body is Body.EVENTS
