"""Words that occur nowhere else, and the search for them in every spelling."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SHORTEST = 8
"""Bytes of a canary's base64 form that are still no chance hit."""


class Canaries:
    """Makes a canary for each place, and finds them again."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, place: str, prefix: str = "") -> str:
        """Return the canary of this place: always the same word, letters and digits only."""
        if place not in self.words:
            self.words[place] = f"{prefix}canary{secrets.token_hex(10)}"
        return self.words[place]

    def add(self, place: str, word: str) -> None:
        """Search for a word that was made elsewhere, too."""
        self.words[place] = word

    def found_in(self, data: bytes, besides: tuple[str, ...] = ()) -> list[str]:
        """Return the places whose canaries are in the data, without places that begin with one of `besides`."""
        texts = [data, *unpacked(data)]
        lowered = [text.lower() for text in texts]
        return [
            place
            for place, word in self.words.items()
            if not place.startswith(besides or ("\0",)) and is_in(forms(word), texts, lowered)
        ]


@dataclass(frozen=True)
class Forms:
    """The spellings of a word: those whose case may differ, in lower case, and those whose case matters."""

    folded: frozenset[bytes]
    exact: frozenset[bytes]


def is_in(word: Forms, texts: list[bytes], lowered: list[bytes]) -> bool:
    """Return whether a word is in one of the texts. `lowered` are the same texts in lower case."""
    return any(form in text for form in word.folded for text in lowered) or any(
        form in text for form in word.exact for text in texts
    )


@functools.cache
def forms(word: str) -> Forms:
    """Return the spellings to look for."""
    plain = word.encode()
    folded = [
        plain,
        quote(word, safe="").encode(),
        "".join(f"%{byte:02x}" for byte in plain).encode(),
        json.dumps(word)[1:-1].encode(),
        "".join(f"\\u{ord(letter):04x}" for letter in word).encode(),
        plain.hex().encode(),
        "".join(f"\\x{byte:02x}" for byte in plain).encode(),
    ]
    exact = [word.encode("utf-16-le"), *base64_cores(plain)]
    return Forms(frozenset(form.lower() for form in folded), frozenset(exact))


def base64_cores(plain: bytes) -> list[bytes]:
    """Return what base64 makes of the bytes at each of three alignments, without what the neighbours decide."""
    cores = []
    for shift in range(3):
        padded = bytes(shift) + plain
        whole = base64.b64encode(padded[: len(padded) // 3 * 3])
        core = whole[4:] if shift else whole
        if len(core) >= SHORTEST:
            cores += [core, core.replace(b"+", b"-").replace(b"/", b"_")]
    return cores


def unpacked(data: bytes) -> list[bytes]:
    """Return what is inside gzip and zlib data, at its beginning only."""
    found = []
    for open_ in (gzip.decompress, zlib.decompress):
        try:
            found.append(open_(data))
        except (OSError, EOFError, zlib.error):
            continue
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
