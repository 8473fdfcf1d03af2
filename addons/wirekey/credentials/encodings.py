"""The ways in which a provider's error may spell a secret that it quotes: JSON escapes, percent-encoding, base64.

A text is read with its escapes undone up to three times, as an error may quote JSON within JSON. Each reading knows
where its bytes stand in the original, so that what is found can be masked there.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROUNDS = 3
SHORTEST_CORE = 8
"""Bytes of a secret's base64 form below which a match could be chance."""

ESCAPE = re.compile(rb'\\(?:u00([0-9A-Fa-f]{2})|(["\\/]))|%([0-9A-Fa-f]{2})')
UNFINISHED = re.compile(rb"[\\%][\\%u0-9A-Fa-f]*\Z")
"""An escape within an escape, too, whose parts are complete by themselves: `%%361` is `%61`."""
LONGEST_UNFINISHED = 24


def decodings(data: bytes) -> Iterator[tuple[bytes, Sequence[int]]]:
    """Yield the text as it is, then with its escapes undone once, twice, three times, as long as that changes it.

    With each comes where its bytes begin in `data`, and at last the length of `data`.
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
    """Return the text with its escapes undone once, and where each byte of that begins in `text`, and its length."""
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
    """Return where an escape begins whose rest is still to come, or the length of the text."""
    offset = max(0, len(text) - LONGEST_UNFINISHED)
    found = UNFINISHED.search(text, offset)
    return found.start() if found else len(text)


def base64_cores(secret: bytes) -> tuple[bytes, ...]:
    """Return what base64 makes of a secret at each of its three alignments, in both alphabets.

    `Bearer KEY` is one of them. The characters at both ends that the neighbours decide as well are left out; they
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
