"""The encodings in which a provider's error may quote a secret: JSON escapes, percent-encoding, base64.

A text is decoded up to three times, because an error may quote JSON within JSON. Each decoding keeps the positions of
its bytes in the original, so that a match can be masked there.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROUNDS = 3
SHORTEST_CORE = 8
"""Bytes. A match of a shorter part of a secret's base64 form could be a coincidence."""

ESCAPE = re.compile(rb'\\(?:u00([0-9A-Fa-f]{2})|(["\\/]))|%([0-9A-Fa-f]{2})')
UNFINISHED = re.compile(rb"[\\%][\\%u0-9A-Fa-f]*\Z")
"""Also matches an escape within an escape whose parts are complete on their own: `%%361` is `%61`."""
LONGEST_UNFINISHED = 24


def decodings(data: bytes) -> Iterator[tuple[bytes, Sequence[int]]]:
    """Yield the text as it is, then with its escapes decoded once, twice and three times, while that changes it.

    Each comes with the position of every byte in `data`, followed by the length of `data`.
    """
    text: bytes = data
    positions: Sequence[int] = range(len(data) + 1)
    yield text, positions
    for _ in range(ROUNDS):
        if b"\\" not in text and b"%" not in text:
            return
        undone, starts = decode_escapes(text)
        if len(undone) == len(text):
            return
        text, positions = undone, [positions[start] for start in starts]
        yield text, positions


def decode_escapes(text: bytes) -> tuple[bytes, list[int]]:
    """Return the text with its escapes decoded once, and the position of each byte in `text`, then its length."""
    pieces: list[bytes] = []
    starts: list[int] = []
    at = 0
    for found in ESCAPE.finditer(text):
        digits = found[1] or found[3]
        pieces += (text[at : found.start()], bytes([int(digits, 16)]) if digits else found[2])
        starts.extend(range(at, found.start() + 1))
        at = found.end()
    pieces.append(text[at:])
    starts.extend(range(at, len(text) + 1))
    return b"".join(pieces), starts


def unfinished_escape(text: bytes) -> int:
    """Return the position of an escape that is incomplete at the end of the text, or the length of the text."""
    offset = max(0, len(text) - LONGEST_UNFINISHED)
    found = UNFINISHED.search(text, offset)
    return found.start() if found else len(text)


def base64_cores(secret: bytes) -> tuple[bytes, ...]:
    """Return the base64 forms of a secret at each of its three alignments, in both alphabets.

    `Bearer KEY` contains one of them. Characters at both ends that depend on neighbouring bytes are left out. They
    stand for at most two bytes of the secret at each end.
    """
    cores: dict[bytes, None] = {}
    for shift in range(3):
        padded = bytes(shift) + secret
        whole = base64.b64encode(padded[: len(padded) // 3 * 3])
        core = whole[4:] if shift else whole
        if len(core) >= SHORTEST_CORE:
            cores |= {core: None, core.translate(URL_SAFE): None}
    return tuple(cores)


URL_SAFE = bytes.maketrans(b"+/", b"-_")
