"""Filters the head of a provider's response for the client. Pure.

It removes what concerns another host or hop: addresses that bypass Wirekey, cookies of the shared account, headers
meant for a proxy, and headers that only Wirekey sets. At the gateway it also removes headers that would apply to the
gateway's own host, above all in a browser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.credentials.scrub import MASK, plain_spans, scrub
from wirekey.providers.credential_headers import hop_by_hop_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

type Fields = tuple[tuple[bytes, bytes], ...]

DROPPED = frozenset(
    {
        # Another host, port or protocol for the same calls, past Wirekey.
        b"alt-svc",
        # A redirect, which only browsers follow.
        b"refresh",
        # The provider's session with Wirekey. Clients' cookies are never forwarded, so a client cannot use it.
        b"set-cookie",
        b"set-cookie2",
    }
)
DROPPED_FAMILIES = (b"proxy-", b"x-wirekey-")
"""Meant for a proxy, so for Wirekey, which does not use it; and what only Wirekey itself says to a client."""
DROPPED_AT_GATEWAY = frozenset(
    {
        # Would apply to the gateway's host, and to other programs on its ports.
        b"strict-transport-security",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"expect-ct",
        b"clear-site-data",
        b"service-worker-allowed",
        # Would make browsers report their use of the gateway to others.
        b"nel",
        b"report-to",
        b"reporting-endpoints",
    }
)
FRAMING = frozenset({b"connection", b"content-encoding", b"content-length", b"content-type", b"transfer-encoding"})
"""A Connection header cannot remove these: without them the response could be parsed in another way."""


def client_fields(
    fields: Iterable[tuple[bytes, bytes]], secrets: Sequence[bytes], *, encoded: bool, at_gateway: bool
) -> Fields:
    """Return the header fields for the client: secrets masked, the fields above and those of Connection left out.

    `encoded`: encoded secrets are masked, too. `at_gateway`: the call came through the gateway.
    """
    fields = tuple(fields)
    named = marked_by_connection(fields)
    kept = tuple(
        (name, value)
        for name, value in fields
        if not (
            (lower := name.lower()) in DROPPED
            or lower.startswith(DROPPED_FAMILIES)
            or lower in named
            or (at_gateway and lower in DROPPED_AT_GATEWAY)
        )
    )
    if not secrets:
        return kept
    shortest = min(map(len, secrets))
    return tuple(
        (
            masked_name(name, secrets) if len(name) >= shortest else name,
            scrub(value, secrets, encoded=encoded) if len(value) >= shortest else value,
        )
        for name, value in kept
    )


def minimal_fields(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return only the framing fields, for a head that could not be searched for secrets."""
    return tuple((name, value) for name, value in fields if name.lower() in FRAMING)


def marked_by_connection(fields: Fields) -> frozenset[bytes]:
    """Return the fields that the Connection headers list, except for the framing fields."""
    values = [("connection", value.decode("latin-1")) for name, value in fields if name.lower() == b"connection"]
    return frozenset(name.encode("latin-1") for name in hop_by_hop_names(values)) - FRAMING if values else frozenset()


def masked_name(name: bytes, secrets: Iterable[bytes]) -> bytes:
    """Mask secrets in a header's name, whose case a hop may have changed."""
    lower, changed = name.lower(), bytearray(name)
    for secret in secrets:
        for start, end in plain_spans(lower, (secret.lower(),)):
            changed[start:end] = MASK * (end - start)
    return bytes(changed)
