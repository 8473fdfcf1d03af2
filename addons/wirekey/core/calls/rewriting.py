"""The interfaces of what changes the request of an attempt, and then its response, for a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mitmproxy import http

    from wirekey.core.call import Call, Outcome
    from wirekey.core.operation import Facts, Operation


class RewrittenRequest(Protocol):
    """A request in another format than the client's, as an attempt sends it. It is in `AttemptState.rewritten`."""

    @property
    def operation(self) -> Operation:
        """The operation of the upstream's provider."""

    @property
    def facts(self) -> Facts:
        """The facts that the upstream's provider reads in the request."""

    def fields(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the header fields that are sent in place of the client's."""

    def record(self, call: Call) -> None:
        """Note in a call's event what was changed."""

    def response(self, call: Call, response: http.Response, limit: int) -> ResponseRewrite:
        """Return what changes the response back, after it has changed the head.

        `limit`: the most bytes of a response that is held whole.
        """


class ResponseRewrite(Protocol):
    """The last step of a response before the client: it gets the upstream's bytes and returns the client's."""

    @property
    def holds(self) -> bool:
        """Whether the client gets nothing before the end, not even the head."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the client's bytes for the next bytes of the upstream. Raises ResponseRefused."""

    def finish(self, rest: Iterable[bytes]) -> None:
        """Rewrite a response that is held, of which `rest` was not fed yet. A thread may do it before the end."""

    def end(self) -> list[bytes]:
        """Return the client's last bytes."""

    def failure(self) -> tuple[Outcome, str | None] | None:
        """Return the outcome and the reason of a stream that its client saw end with an error; None for any other."""


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
