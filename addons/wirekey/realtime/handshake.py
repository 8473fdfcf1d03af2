"""The opening of a WebSocket (RFC 6455, section 4): what a request must have, and what a response may say.

The client's key and offers pass unchanged, so that the two ends agree on compression. An agent's token may stand in a
subprotocol, as browsers send it, which can set no header:
https://platform.openai.com/docs/guides/realtime-websocket
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wsproto.extensions import PerMessageDeflate

from wirekey.errors import Fault, Refusal
from wirekey.operation import HTTP_INSTEAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wirekey.operation import Operation

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"
KEY_PROTOCOL = "openai-insecure-api-key."
REMOVED_PROTOCOLS = (KEY_PROTOCOL, "openai-organization.", "openai-project.")
"""The beginnings of subprotocols that stand for headers. They are removed, as the headers are."""
PROTOCOLS = "sec-websocket-protocol"
EXTENSIONS = "sec-websocket-extensions"

# Codex falls back to HTTP at once after 426, and after another status only after several attempts.
UPGRADE_REFUSED = Refusal(426, "websocket_refused", "This path has no WebSocket, and no other upgrade. Use HTTP.")
NO_WEBSOCKET = Refusal(
    400, "not_a_websocket", "This path is called by a WebSocket. Open one: send the headers Connection and Upgrade."
)
HOOKS_NEED_HTTP = Refusal(
    426, "extensions_need_http", "Extensions of Wirekey's operator read each request, and not WebSockets. Use HTTP."
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


def refusal_of_upgrade(operation: Operation | None, refusal: Refusal) -> Refusal:
    """Return the refusal of a connection, with a status that makes its program use HTTP if it can.

    By HTTP, each request is judged by itself, and those that are refused get their usual status.
    """
    if operation is None or operation.name not in HTTP_INSTEAD or refusal.status not in {400, 403, 503}:
        return refusal
    return replace(refusal, status=UPGRADE_REFUSED.status, message=f"{refusal.message} Use HTTP.")


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


def protocols_of(value: str) -> list[str]:
    """Return the subprotocols of a header."""
    return [each.strip() for each in value.split(",") if each.strip()]


def keys_in(value: str) -> list[str]:
    """Return the keys in the subprotocols of a header."""
    return [each[len(KEY_PROTOCOL) :] for each in protocols_of(value) if each.lower().startswith(KEY_PROTOCOL)]


def without_keys(value: str) -> str:
    """Return the subprotocols of a header without keys and accounts; "" if nothing is left."""
    return ", ".join(each for each in protocols_of(value) if not each.lower().startswith(REMOVED_PROTOCOLS))


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


def without_protocol_keys(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return header fields whose subprotocols have no keys. A header of nothing else is left out."""
    kept = []
    for name, value in fields:
        if name.lower() == PROTOCOLS.encode():
            left = without_keys(value.decode("latin-1")).encode("latin-1")
            if left:
                kept.append((name, left if left != value.strip() and keys_or_accounts(value) else value))
        else:
            kept.append((name, value))
    return tuple(kept)


def keys_or_accounts(value: bytes) -> bool:
    """Return whether a header of subprotocols has one that is removed."""
    return any(each.lower().startswith(REMOVED_PROTOCOLS) for each in protocols_of(value.decode("latin-1")))
