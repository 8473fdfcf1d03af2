"""Keys in the subprotocols of a WebSocket, where browsers send them, which can set no header.

https://platform.openai.com/docs/guides/realtime-websocket. They are found and removed whether or not WebSockets are
served, as no other addon may see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_PROTOCOL = "openai-insecure-api-key."
REMOVED_PROTOCOLS = (KEY_PROTOCOL, "openai-organization.", "openai-project.")
"""The beginnings of subprotocols that stand for headers. They are removed, as the headers are."""
PROTOCOLS = "sec-websocket-protocol"


def protocols_of(value: str) -> list[str]:
    """Return the subprotocols of a header."""
    return [each.strip() for each in value.split(",") if each.strip()]


def keys_in(value: str) -> list[str]:
    """Return the keys in the subprotocols of a header."""
    return [each[len(KEY_PROTOCOL) :] for each in protocols_of(value) if each.lower().startswith(KEY_PROTOCOL)]


def without_keys(value: str) -> str:
    """Return the subprotocols of a header without keys and accounts; "" if nothing is left."""
    return ", ".join(each for each in protocols_of(value) if not each.lower().startswith(REMOVED_PROTOCOLS))


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


def without_protocols(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return header fields without subprotocols. A request that opens no WebSocket has no use for them."""
    return tuple(field for field in fields if field[0].lower() != PROTOCOLS.encode())


def keys_or_accounts(value: bytes) -> bool:
    """Return whether a header of subprotocols has one that is removed."""
    return any(each.lower().startswith(REMOVED_PROTOCOLS) for each in protocols_of(value.decode("latin-1")))
