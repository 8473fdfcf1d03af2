"""One request and one answer, free of the wire that they came over."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]

HELD_BODY_BYTES = 64 << 20
"""More of a request body than this is counted and hashed, not held."""


class BodyCollector:
    """Counts, hashes and, up to HELD_BODY_BYTES, holds the body of a request as it arrives."""

    __slots__ = ("_hash", "_parts", "held", "pauses", "size")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._parts: list[bytes] = []
        self.held = 0
        self.size = 0
        self.pauses = False
        """Whether it ends with a space, so far."""

    def feed(self, data: bytes) -> None:
        self.pauses = data.endswith(b" ")
        self._hash.update(data)
        self.size += len(data)
        if self.held + len(data) <= HELD_BODY_BYTES:
            self._parts.append(data)
            self.held += len(data)

    @property
    def body(self) -> bytes:
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@dataclass(slots=True)
class Seen:
    """What arrived, and how its answer ended. Holds credentials and content: its repr shows neither.

    `outcome` is None while the answer is under way, then completed, client_gone (the client went away
    before the end), or fault (the simulator was asked to break the answer off).
    """

    number: int
    """Place in the order of arrival, from 1; counted over the simulator's life."""
    method: str
    authority: str
    target: str = field(repr=False)
    """Raw path with query."""
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """In the order, spelling and case in which they stood; without HTTP/2's pseudo-headers."""
    body: bytes = field(repr=False)
    """The first bytes of the body."""
    size: int
    """Bytes of the whole body."""
    sha256: str
    """Of the whole body, in hexadecimal."""
    protocol: str
    """h1 or h2"""
    tls: bool
    sni: str | None = None
    connection: int = 0
    """Number of the connection, from 1: requests of one connection share it."""
    provider: str | None = None
    status: int | None = None
    events: int = 0
    """Pieces of the answer's stream that were written."""
    outcome: str | None = None


@dataclass(eq=False)
class SimulatedRequest:
    """A whole request. Header names are looked up in lower case."""

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

    @cached_property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def base_url(self) -> str:
        """The origin that the client called, for absolute URLs in answers."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        text = self.target.partition("?")[2]
        return parse_qsl(text, keep_blank_values=True) if text else []

    @cached_property
    def fields(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        return found

    def header(self, name: str, default: str = "") -> str:
        values = self.fields.get(name)
        return values[0] if values else default

    def parameter(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.query if key == name), default)

    def json(self) -> Json:
        """Give the body as a JSON object; raises BadRequest where it is none."""
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
    """A request that the real provider would refuse; `message` is a sentence, `field` what it is about."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.field = field


@dataclass(slots=True)
class SimulatedResponse:
    """An answer. `pieces` takes the place of `body` in a stream: one item is one event, as bytes."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    pieces: Iterable[bytes] | None = None
    error_piece: bytes = b""
    """What the provider sends inside this stream when it fails; ends the stream."""
    garbled_piece: bytes = b""
    """A malformed event of this stream's format."""


encode = msgspec.json.Encoder().encode
JSON_TYPE = ("content-type", "application/json")


def json_response(value: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> SimulatedResponse:
    return SimulatedResponse(status, [JSON_TYPE, *headers], encode(value))


def sse_response(
    pieces: Iterator[bytes], error_piece: bytes, headers: Iterable[tuple[str, str]] = ()
) -> SimulatedResponse:
    """Give a stream of server-sent events (HTML standard, section 9.2)."""
    return SimulatedResponse(
        200,
        [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), *headers],
        pieces=pieces,
        error_piece=error_piece,
        garbled_piece=b'event\ndata: {"unfinished": [1, \n\n',
    )


def sse(data: Any, event: str | None = None) -> bytes:
    text = encode(data)
    return b"data: %b\n\n" % text if event is None else b"event: %b\ndata: %b\n\n" % (event.encode(), text)
