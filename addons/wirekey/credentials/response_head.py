"""What of the head of a provider's response a client gets. Pure.

Taken out is what speaks for another host or another hop: another way to the provider that goes past Wirekey, cookies
of the account that all agents share, what is meant for a proxy. What a client that follows would act on, a browser
above all, counts for the gateway's own host if it came from the gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.credential_headers import hop_by_hop_names
from wirekey.credentials.scrub import MASK, plain_spans, scrub

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

type Fields = tuple[tuple[bytes, bytes], ...]

DROPPED = frozenset(
    {
        # Another host, port or protocol for the same calls, where nobody looks at them.
        b"alt-svc",
        # A redirect, which only browsers follow.
        b"refresh",
        # The provider's session with us. Clients' cookies are never sent on, so nobody could use it as it is meant.
        b"set-cookie",
        b"set-cookie2",
    }
)
DROPPED_FAMILY = b"proxy-"
"""Meant for a proxy: for Wirekey, which has no use for it."""
DROPPED_AT_GATEWAY = frozenset(
    {
        # Would count for the gateway's host, and for other programs on its ports.
        b"strict-transport-security",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"expect-ct",
        b"clear-site-data",
        b"service-worker-allowed",
        # Would have browsers report what they do at the gateway to others.
        b"nel",
        b"report-to",
        b"reporting-endpoints",
    }
)
FRAMING = frozenset({b"connection", b"content-encoding", b"content-length", b"content-type", b"transfer-encoding"})
"""A Connection header cannot take these off: without them the response could be read in another way."""


def client_fields(
    fields: Iterable[tuple[bytes, bytes]], secrets: Sequence[bytes], *, encoded: bool, at_gateway: bool
) -> Fields:
    """Return the header fields for the client: secrets masked, the fields above and those of Connection left out.

    `spelled`: secrets are masked in other spellings, too.
    """
    fields = tuple(fields)
    named = marked_by_connection(fields)
    kept = tuple(
        (name, value)
        for name, value in fields
        if not (
            (lower := name.lower()) in DROPPED
            or lower.startswith(DROPPED_FAMILY)
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
    """Return what a response cannot do without: for a head that could not be looked through."""
    return tuple((name, value) for name, value in fields if name.lower() in FRAMING)


def marked_by_connection(fields: Fields) -> frozenset[bytes]:
    values = [("connection", value.decode("latin-1")) for name, value in fields if name.lower() == b"connection"]
    return frozenset(name.encode("latin-1") for name in hop_by_hop_names(values)) - FRAMING if values else frozenset()


def masked_name(name: bytes, secrets: Iterable[bytes]) -> bytes:
    """Mask secrets in a header's name, whose case a hop may have changed."""
    lower, changed = name.lower(), bytearray(name)
    for secret in secrets:
        for start, end in plain_spans(lower, (secret.lower(),)):
            changed[start:end] = MASK * (end - start)
    return bytes(changed)
