"""The parts of a request that a signature covers, as it arrived or as it will be sent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.secret import Secret

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
FOLD = re.compile(r"\r?\n[ \t]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class UnreadableRequestError(ValueError):
    """The request has no canonical form. The message says which part cannot be read."""


@dataclass(frozen=True, slots=True)
class SigV4Credentials:
    """An AWS key pair. A temporary pair also has a session token."""

    access_key: str
    secret: Secret
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint of the call, whatever the caller signed for.

    `plain_paths`: refuse a path that is not its own normal form. AWS normalises paths, so what is forwarded would
    differ from what was signed.
    """

    region: str
    service: str = "bedrock"
    plain_paths: bool = True


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method, target and headers, byte for byte.

    `target`: path and query in origin form, `/model/a%3A0/converse?x=1`. `headers`: names and values in order, without
    HTTP/2's pseudo-headers. `authority`: `:authority`, empty over HTTP/1. `tls`: whether the request came over TLS.
    """

    method: str
    target: bytes = field(repr=False)
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    authority: bytes = b""
    tls: bool = True
    read: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The parts of the head that were read, by their kind, so that each is read once."""

    @property
    def path(self) -> str:
        """Return the raw path. Raises UnreadableRequestError if it is not UTF-8 or not in origin form."""
        path = self.target.partition(b"?")[0]
        if not path.startswith(b"/"):
            raise UnreadableRequestError("The request target does not begin with '/'.")
        return _text(path, "path")

    @property
    def query(self) -> list[tuple[str, str]]:
        """Return decoded names and values in order, including empty and repeated ones. `+` is a plus.

        Raises UnreadableRequestError if the decoded bytes are not UTF-8.
        """
        raw = self.target.partition(b"?")[2]
        pairs = [pair.partition(b"=") for pair in raw.split(b"&") if pair]
        return [
            (_text(unquote_to_bytes(name), "query"), _text(unquote_to_bytes(value), "query"))
            for name, _, value in pairs
        ]

    def fields(self) -> dict[str, list[bytes]]:
        """Return the values by lower-case name. `host` and `:authority` stand in for each other if one is missing.

        Raises UnreadableRequestError if the two differ.
        """
        found: dict[str, list[bytes]] | None = self.read.get("fields")
        if found is None:
            found = self.read["fields"] = self._read_fields()
        return found

    def _read_fields(self) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for name, value in self.headers:
            found.setdefault(name.decode("latin-1").lower(), []).append(value)
        hosts = found.get("host", [])
        if self.authority and hosts != [self.authority]:
            hosts = [*hosts, self.authority]
        if len(hosts) > 1:
            raise UnreadableRequestError("The request names more than one host.")
        if hosts:
            found["host"] = found[":authority"] = hosts
        return found


def parameter_name(pair: bytes) -> bytes:
    """Return the name of one `name=value` of a raw query, decoded, in lower case. Never raises."""
    return unquote_to_bytes(pair.partition(b"=")[0]).lower()


def field_text(name: str, value: bytes) -> str:
    """Return a header's value, unfolded (RFC 9112, 5.2).

    Raises UnreadableRequestError if it is not UTF-8 or has a control character: two parsers could read it differently,
    so what is sent could differ from what was signed.
    """
    text = _text(value, f"header {name}")
    if not text.isprintable():
        text = FOLD.sub(" ", text)
        if CONTROL.search(text):
            raise UnreadableRequestError(f"The header {name} holds a control character.")
    return text


def _text(value: bytes, place: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UnreadableRequestError(f"The {place} holds bytes that are not UTF-8.") from None
