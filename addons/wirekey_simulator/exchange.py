"""One request and one response, independent of the protocol that carried them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


Json = dict[str, Any]

HELD_BODY_BYTES = 64 << 20
"""Bytes of a request body to keep. More is counted and hashed only."""


class BodyCollector:
    """Counts and hashes the body of a request as it arrives, and keeps up to HELD_BODY_BYTES of it."""

    __slots__ = ("_hash", "_parts", "held", "pauses", "size")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._parts: list[bytes] = []
        self.held = 0
        self.size = 0
        self.pauses = False
        """Whether the body, as far as it has arrived, ends with a space."""

    def feed(self, data: bytes) -> None:
        """Add bytes as they arrive."""
        self.pauses = data.endswith(b" ")
        self._hash.update(data)
        self.size += len(data)
        if self.held + len(data) <= HELD_BODY_BYTES:
            self._parts.append(data)
            self.held += len(data)

    @property
    def body(self) -> bytes:
        """Return the bytes that were kept."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of all bytes, in hexadecimal."""
        return self._hash.hexdigest()


@dataclass(slots=True)
class Seen:
    """A request that arrived and how its response ended. Holds credentials and content: its repr shows neither.

    `outcome` is None while the response is being sent, then completed, client_gone (the client disconnected early) or
    fault (the test told the simulator to break off the response).
    """

    number: int
    """Number in the order of arrival, from 1, over the simulator's life."""
    method: str
    authority: str
    target: str = field(repr=False)
    """Raw path with query."""
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """In the order and spelling of the request, without HTTP/2's pseudo-headers."""
    body: bytes = field(repr=False)
    """The first bytes of the body."""
    size: int
    """Bytes of the whole body."""
    sha256: str
    """SHA-256 of the whole body, in hexadecimal."""
    protocol: str
    """h1 or h2"""
    tls: bool
    sni: str | None = None
    connection: int = 0
    """Number of the connection, from 1."""
    provider: str | None = None
    status: int | None = None
    events: int = 0
    """Events of the response that were sent."""
    received_events: int = 0
    """Signed events of the request that were verified."""
    outcome: str | None = None


@dataclass(eq=False)
class SimulatedRequest:
    """A whole request."""

    method: str
    authority: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    size: int
    sha256: str
    protocol: str
    tls: bool
    sni: str | None = None
    connection: int = 0
    streams: bool = False
    """Whether the body is still to come, and streams while the response does."""

    @cached_property
    def path(self) -> str:
        """Return the raw path, without the query."""
        return self.target.partition("?")[0]

    @property
    def base_url(self) -> str:
        """Return the origin that the client called, for absolute URLs in responses."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """Return the decoded names and values of the query, in order."""
        text = self.target.partition("?")[2]
        return parse_qsl(text, keep_blank_values=True) if text else []

    @cached_property
    def fields(self) -> dict[str, list[str]]:
        """Return the header values by lower-case name."""
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        return found

    def header(self, name: str, default: str = "") -> str:
        """Return the first value of a header, by its lower-case name."""
        values = self.fields.get(name)
        return values[0] if values else default

    def parameter(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return next((value for key, value in self.query if key == name), default)

    def json(self) -> Json:
        """Return the body, a JSON object. Raises BadRequest if it is something else."""
        encoding = self.header("content-encoding", "identity")
        if encoding != "identity":
            raise BadRequest(f"The request body is encoded as {encoding}. Send it as it is.")
        if self.size != len(self.body):
            raise BadRequest("The request body is too large.", status=413)
        try:
            value = msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise BadRequest(f"We could not parse the JSON body of your request: {error}") from None
        if not isinstance(value, dict):
            raise BadRequest("The JSON body of the request is not an object.")
        return value


class BadRequest(Exception):  # noqa: N818  # named as HTTP names it
    """A request that the real provider would refuse. `message` is a sentence, `field` the parameter at fault."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.field = field


def rules[**P, R](check: Callable[P, R]) -> Callable[P, R]:
    """Decorate a check of a request's members, so that it refuses a member of a wrong type wherever it finds one."""

    @wraps(check)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return check(*args, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise BadRequest("The request has a member of a wrong type.") from None

    return checked


@dataclass(slots=True)
class SimulatedResponse:
    """A response. A stream has `pieces` in place of `body`: one item is one event, as bytes."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    pieces: Iterable[bytes] | None = None
    error_piece: bytes = b""
    """The error event with which the provider ends a stream that fails."""
    garbled_piece: bytes = b""
    """A malformed event of this stream's format."""


encode = msgspec.json.Encoder().encode
JSON_TYPE = ("content-type", "application/json")


def json_response(value: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> SimulatedResponse:
    """Return a response with a JSON body."""
    return SimulatedResponse(status, [JSON_TYPE, *headers], encode(value))


def sse_response(
    pieces: Iterator[bytes], error_piece: bytes, headers: Iterable[tuple[str, str]] = ()
) -> SimulatedResponse:
    """Return a stream of server-sent events (HTML standard, section 9.2)."""
    return SimulatedResponse(
        200,
        [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), *headers],
        pieces=pieces,
        error_piece=error_piece,
        garbled_piece=b'event\ndata: {"unfinished": [1, \n\n',
    )


def sse(data: Any, event: str | None = None) -> bytes:
    """Return one server-sent event whose data is JSON."""
    text = encode(data)
    return b"data: %b\n\n" % text if event is None else b"event: %b\ndata: %b\n\n" % (event.encode(), text)
