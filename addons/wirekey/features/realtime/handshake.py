"""The opening of a WebSocket (RFC 6455, section 4): what a request must have, and what a response may say.

The client's key and offers pass unchanged, so that the two ends agree on compression.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wsproto.extensions import PerMessageDeflate

from wirekey.core.errors import Fault, Refusal
from wirekey.core.subprotocol_keys import PROTOCOLS, protocols_of

if TYPE_CHECKING:
    from collections.abc import Mapping

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"
EXTENSIONS = "sec-websocket-extensions"

NO_WEBSOCKET = Refusal(
    400, "not_a_websocket", "This path is called by a WebSocket. Open one: send the headers Connection and Upgrade."
)
NOT_OPENED = Refusal(
    502,
    "upstream_unreadable",
    "The provider agreed to a WebSocket, but its response does not fit the request.",
    Fault.PROVIDER,
)


@dataclass(frozen=True, slots=True)
class Compression:
    """The compression that both ends agreed on: bits of the windows, and whether each message begins a new one."""

    client_bits: int = 15
    server_bits: int = 15
    client_fresh: bool = False
    server_fresh: bool = False


def route_needs_http(model: str) -> Refusal:
    """Return the refusal of a connection whose conversation has just asked for a model that has no WebSocket."""
    named = f"the model {model}" if model else "a model"
    return Refusal(
        426,
        "route_needs_http",
        f"This conversation asked for {named}, and the route of that model leads to a place that has no WebSocket. "
        "Send the requests of this conversation by HTTP: POST /v1/responses.",
    )


def is_websocket(headers: Mapping[str, str]) -> bool:
    """Return whether a request asks for a WebSocket. `headers`: by lower-case name."""
    return headers.get("upgrade", "").strip().lower() == "websocket"


def check_request(method: str, version: str, headers: Mapping[str, str]) -> None:
    """Raise Refusal(400) unless a request opens a WebSocket as RFC 6455 says, and in one way only."""
    options = [each.strip().lower() for each in headers.get("connection", "").split(",")]
    wrong = None
    if method != "GET" or version != "HTTP/1.1":
        wrong = "it must be a GET over HTTP/1.1"
    elif "upgrade" not in options:
        wrong = "its Connection header must name Upgrade"
    elif headers.get("sec-websocket-version") != VERSION:
        wrong = f"its Sec-WebSocket-Version must be {VERSION}"
    elif not is_key(headers.get("sec-websocket-key", "")):
        wrong = "its Sec-WebSocket-Key must be 16 bytes in base64"
    elif headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        wrong = "it must have no body"
    if wrong:
        raise Refusal(400, "malformed", f"The request does not open a WebSocket: {wrong}.")


def is_key(value: str) -> bool:
    """Return whether this is 16 bytes in base64."""
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def accept_value(key: str) -> str:
    """Return the value of Sec-WebSocket-Accept that belongs to a key."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + GUID, usedforsecurity=False).digest()).decode()


def accepting_fields(key: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header fields of a response that opens a WebSocket, without an extension or a subprotocol."""
    return (
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", accept_value(key).encode()),
    )


def deflate_of(request: Mapping[str, str], response: Mapping[str, str]) -> Compression | None:
    """Return the compression of a connection, or None. Both are headers by lower-case name.

    Raises Refusal(502) if the response does not accept the request, or picks what the client did not offer.
    """
    wrong = (
        not is_websocket(response)
        or "upgrade" not in response.get("connection", "").lower()
        or response.get("sec-websocket-accept", "").strip() != accept_value(request.get("sec-websocket-key", ""))
        or not set(protocols_of(response.get(PROTOCOLS, ""))) <= set(protocols_of(request.get(PROTOCOLS, "")))
        or len(protocols_of(response.get(PROTOCOLS, ""))) > 1
    )
    chosen = protocols_of(response.get(EXTENSIONS, ""))
    if wrong or len(chosen) > 1 or (chosen and not offers_deflate(request.get(EXTENSIONS, ""))):
        raise NOT_OPENED
    return read_deflate(chosen[0]) if chosen else None


def offers_deflate(value: str) -> bool:
    """Return whether a request offers compression."""
    return any(name_of(each) == PerMessageDeflate.name for each in protocols_of(value))


def name_of(extension: str) -> str:
    """Return the name of an extension, without its parameters."""
    return extension.partition(";")[0].strip().lower()


def read_deflate(chosen: str) -> Compression:
    """Read the extension that a provider has chosen. Raises Refusal(502)."""
    extension = PerMessageDeflate()
    if name_of(chosen) != extension.name:
        raise NOT_OPENED
    try:
        extension.finalize(chosen)
    except (ValueError, IndexError):
        raise NOT_OPENED from None
    bits = extension.client_max_window_bits, extension.server_max_window_bits
    if not all(8 <= each <= 15 for each in bits):
        raise NOT_OPENED
    return Compression(*bits, extension.client_no_context_takeover, extension.server_no_context_takeover)
