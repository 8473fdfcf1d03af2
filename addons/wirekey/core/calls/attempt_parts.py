"""The part of a feature that changes attempts: steps at fixed points, from the request to the response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitmproxy import http

    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.routing.candidate import Candidate

type Fields = list[tuple[bytes, bytes]]


class ResponseChange(Protocol):
    """Changes the body of a response on its way to the client, before it is read and translated.

    `holds`: the response is read as a whole, and then sets its own length. Otherwise it is a stream.
    """

    holds: bool

    def feed(self, data: bytes) -> list[bytes]:
        """Return what follows of the next bytes. Raises ResponseRefused."""

    def end(self) -> list[bytes]:
        """Return the end, or the whole response. Raises ResponseRefused."""

    def finish(self, rest: Sequence[bytes]) -> bool:
        """Change a large whole response, of which `rest` was not fed yet, before the end. It runs in a thread.

        Return whether that was possible. Otherwise the end does it, or refuses the response.
        """


class AttemptSteps:
    """The part of a feature with its steps in each attempt at one of its candidates. A step here changes nothing.

    `applies` is called once for each attempt. The attempt keeps the parts that apply, so others skip them all. A
    part has no state of its own: what it learns of an attempt is in `AttemptState.features`.
    """

    def applies(self, candidate: Candidate) -> bool:
        """Return whether attempts at a candidate take these steps. It must be quick."""
        raise NotImplementedError

    def begin(self, services: Services, state: CallState, attempt: AttemptState, request: http.Request) -> AttemptState:
        """Return an attempt before its model is set and its request is translated. Raises Refusal."""
        return attempt

    def makes_credential(self, services: Services, attempt: AttemptState) -> bool:
        """Return whether `with_credential` makes the credential. No other one is chosen then."""
        return False

    async def with_credential(self, services: Services, state: CallState, attempt: AttemptState) -> AttemptState:
        """Return an attempt with its credential, after which nothing else changes it. Raises Refusal."""
        return attempt

    def wire_fields(self, attempt: AttemptState, fields: Fields) -> Fields:
        """Return the header fields of the request as it is sent, without its credential."""
        return fields

    def note_status(self, services: Services, attempt: AttemptState, status: int, wait: float | None) -> None:
        """Note the status of the response. `wait`: the seconds of Retry-After, or None."""

    def error_reader(self, attempt: AttemptState, status: int, wait: float | None) -> Callable[[bytes], None] | None:
        """Return what reads the body of an error that the client does not get, and then b"". None: nothing does."""
        return None

    def response_change(self, attempt: AttemptState, response: http.Response, limit: int) -> ResponseChange | None:
        """Return what changes the body of a response; None if nothing does.

        `limit`: bytes of a response that may be read as a whole.
        """
        return None
