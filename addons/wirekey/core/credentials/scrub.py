"""Masks the credential in use where a provider quotes it.

The mask has the same length, so that the framing stays valid.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from wirekey.core.credentials.encodings import base64_cores, decodings, unfinished_escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MASK = b"*"
SHORTEST_SECRET = 8
"""Bytes. A shorter key is a placeholder, as for a local server, and would match in ordinary text."""
ENCODED_BYTES = 64 * 1024
"""Number of bytes of an error that are searched for encoded secrets."""

type Span = tuple[int, int]


def scrub(data: bytes, secrets: Iterable[bytes], *, encoded: bool = False) -> bytes:
    """Mask every occurrence of the secrets. `encoded`: also escaped, percent-encoded, in base64 and in hex."""
    secrets = tuple(secrets)
    spans = encoded_spans(data, with_other_forms(secrets)) if encoded else plain_spans(data, secrets)
    return masked(data, spans)


def masked(data: bytes, spans: Sequence[Span]) -> bytes:
    """Return the data with the spans replaced by asterisks."""
    if not spans:
        return data
    changed = bytearray(data)
    for start, end in spans:
        changed[start:end] = MASK * (end - start)
    return bytes(changed)


def plain_spans(data: bytes, secrets: Iterable[bytes]) -> list[Span]:
    """Return where the secrets occur literally."""
    spans: list[Span] = []
    for secret in secrets:
        at = data.find(secret)
        while at >= 0:
            spans.append((at, at + len(secret)))
            at = data.find(secret, at + 1)
    return spans


def encoded_spans(data: bytes, secrets: Sequence[bytes]) -> list[Span]:
    """Return where the secrets occur, literally or encoded."""
    return [
        (positions[start], positions[end])
        for text, positions in decodings(data)
        for start, end in plain_spans(text, secrets)
    ]


def with_other_forms(secrets: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return the secrets, their base64 forms, and their hexadecimal digits in lower and in upper case."""
    return tuple(dict.fromkeys(form for secret in secrets for form in (secret, *base64_cores(secret), *hexes(secret))))


def hexes(secret: bytes) -> tuple[bytes, bytes]:
    """Return the hexadecimal digits of a secret, in lower and in upper case."""
    digits = secret.hex().encode()
    return digits, digits.upper()


def plain_end(data: bytes, secrets: Iterable[bytes]) -> int:
    """Return the start of the longest end of `data` that may begin a secret, or the length of `data`."""
    length = end = len(data)
    if not length:
        return 0
    last = data[-1]
    for secret in secrets:
        if last not in secret:
            continue
        first = secret[:1]
        at = data.find(first, max(0, length - len(secret) + 1), end)
        while at >= 0 and not secret.startswith(data[at:]):
            at = data.find(first, at + 1, end)
        if at >= 0:
            end = at
    return end


def encoded_end(data: bytes, secrets: Sequence[bytes]) -> int:
    """Return the start of the longest end of `data` that may begin a secret in any encoding."""
    end = len(data)
    positions: Sequence[int] = ()
    for text, positions in decodings(data):
        escape = unfinished_escape(text)
        end = min(end, positions[plain_end(text[:escape], secrets)])
    # Not within an escape: the positions of the last decoding are among those of all others.
    return positions[bisect_right(positions, end) - 1]


class KeyScrubber:
    """Masks secrets in a stream, also across its chunks. A chunk without any passes unchanged.

    Holds back only the longest end of the data that may begin a secret. `encoded`: the first `ENCODED_BYTES` are
    searched for encoded secrets, too. `sign`: the text by which a provider rejects the key itself, b"" for none;
    `sign_seen`: whether it appeared. `found`: whether a secret was masked.
    """

    def __init__(self, secrets: bytes | tuple[bytes, ...], sign: bytes = b"", *, encoded: bool = False) -> None:
        self.secrets = (secrets,) if isinstance(secrets, bytes) else secrets
        self.encoded = with_other_forms(self.secrets) if encoded else ()
        self.room = ENCODED_BYTES
        self.sign = sign
        self.sign_seen = self.found = False
        self.held = b""
        self.covered: list[Span] = []
        """The spans of the held bytes that belong to a secret already found."""
        self.recent = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the masked chunks that can be passed on after this data."""
        if self.held:
            data = self.held + data
        if self.encoded and self.room > 0:
            self.room -= len(data) - len(self.held)
            spans, end = encoded_spans(data, self.encoded), encoded_end(data, self.encoded)
        else:
            spans, end = plain_spans(data, self.secrets), plain_end(data, self.secrets)
        return self.emit(data, spans, end)

    def end(self) -> list[bytes]:
        """Return what was held back, at the end of the stream."""
        return self.emit(self.held, [], len(self.held))

    def emit(self, data: bytes, spans: list[Span], end: int) -> list[bytes]:
        """Pass on the first `end` bytes, masked, and hold back the others."""
        if spans:
            self.found = True
        if self.covered:
            spans += self.covered
        out = masked(data, spans)
        self.covered = [(max(0, start - end), stop - end) for start, stop in spans if stop > end]
        if end == len(data):
            self.held = b""
        else:
            self.held, data, out = data[end:], data[:end], out[:end]
        out = self.repaired(data, out)
        if self.sign:
            self.look_for_sign(out)
        return [out] if out else []

    def repaired(self, data: bytes, out: bytes) -> bytes:
        """Return the bytes to pass on instead of `data`, of which `out` is the masked form. For subclasses."""
        return out

    def look_for_sign(self, data: bytes) -> None:
        """Note whether the sign appears in the data, even across chunks."""
        if not self.sign_seen:
            searched = self.recent + data
            self.sign_seen = self.sign in searched
            self.recent = searched[-len(self.sign) + 1 :] if len(self.sign) > 1 else b""
