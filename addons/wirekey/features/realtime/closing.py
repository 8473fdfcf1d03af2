"""The close codes of WebSockets, and the one that belongs to a refusal (RFC 6455, section 7.4, and IANA's registry)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.core.errors import Refusal

GOING_AWAY, INVALID_PAYLOAD, POLICY_VIOLATION, TOO_BIG, INTERNAL, TRY_AGAIN_LATER = 1001, 1007, 1008, 1009, 1011, 1013
CODES = {400: INVALID_PAYLOAD, 413: TOO_BIG, 429: TRY_AGAIN_LATER}


def close_code(status: int) -> int:
    """Return the close code that says what an HTTP status says."""
    return CODES.get(status, INTERNAL if status >= 500 else POLICY_VIOLATION)


def close_reason(refusal: Refusal) -> str:
    """Return the reason of a close frame, which has room for 123 bytes: the code, and the beginning of the message."""
    return f"{refusal.code}: {refusal.message}"
