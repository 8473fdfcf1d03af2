"""Redacts the flow: it shows names and framing of a call, and no value that a client or provider chose.

mitmweb, dumps, HAR files and other addons see the flow, even while the call runs. So the headers that may be shown are
listed, and all others are redacted. Their values are kept beside the flow and restored on the copy that is sent. The
policy decides on that copy, so an edit of the flow (in mitmweb, or by another addon) changes nothing that is sent.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from wirekey.core.calls.message_copy import copy_of_message
from wirekey.core.credentials.agent_tokens import RECORDED, may_hold_tokens, text_without_tokens, without_tokens
from wirekey.core.header_names import NameRule
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy import http

REMOVED = b"(removed)"

SHOWN = frozenset(
    {
        # Framing, which mitmproxy itself reads off the flow; and names and formats.
        b"host", b"connection", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding",
        b"expect", b"upgrade", b"te", b"trailer", b"date", b"server", b"vary", b"cache-control", b"alt-svc",
        b"user-agent", b"accept", b"accept-encoding", b"accept-language",
        b"proxy-authenticate",
        # Versions, limits and numbers, none of them a capability.
        *(name.encode() for each in PROVIDERS.values() for name in each.headers.shown),
        b"retry-after", b"x-should-retry", b"request-id", b"x-request-id",
        b"x-simulator",
    }
)  # fmt: skip
SHOWN_FAMILIES = (
    b"x-stainless-",
    b"x-wirekey-",
    *(family.encode() for each in PROVIDERS.values() for family in each.headers.shown_families),
)

Fields = tuple[tuple[bytes, bytes], ...]


def is_shown(name: bytes) -> bool | None:
    """Return whether a flow may show the headers of a name; None: only numbers."""
    lower = name.lower()
    if lower == b"content-length":
        return None
    return lower in SHOWN or lower.startswith(SHOWN_FAMILIES)


shown_fields = NameRule(is_shown)


def redacted_headers(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return header fields with the values redacted that must not be shown."""
    return tuple(
        [
            (name, value if (shown := shown_fields[name]) or (shown is None and value.isdigit()) else REMOVED)
            for name, value in fields
        ]
    )


def removed_values(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Return the values that `redacted_headers` removes, by lower-case name, in their order."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        shown = shown_fields[name]
        if not (shown or (shown is None and value.isdigit())):
            found.setdefault(name.lower(), []).append(value)
    return found


def with_removed_values(fields: Iterable[tuple[bytes, bytes]], values: dict[bytes, list[bytes]]) -> Fields:
    """Return redacted header fields with their values. Fields that were added or removed since stay so."""
    left = {name: iter(found) for name, found in values.items()}
    return tuple(
        (name, next(left.get(name.lower(), iter(())), value) if value == REMOVED else value) for name, value in fields
    )


def redacted_request(request: http.Request) -> http.Request:
    """Return a copy of a request head, and redact the original: no query, no values that the client chose."""
    kept = copy_of_message(request)
    redact_head(request)
    return kept


def redact_head(request: http.Request) -> None:
    """Redact path, names and headers of a request."""
    data = request.data
    path, fields = data.path.partition(b"?")[0], redacted_headers(data.headers.fields)
    if may_hold_tokens(chain((path, data.authority, data.host.encode("utf-8", "surrogateescape")), *fields)):
        path, data.authority = without_tokens(path, RECORDED), without_tokens(data.authority, RECORDED)
        data.host = text_without_tokens(data.host)
        fields = tuple((without_tokens(name, RECORDED), without_tokens(value, RECORDED)) for name, value in fields)
    data.path, data.headers.fields = path, fields
