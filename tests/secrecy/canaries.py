"""Words that stand nowhere else, and the search for them in whatever spelling."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import zlib
from pathlib import Path
from urllib.parse import quote

SHORTEST = 8
"""Bytes of a canary's base64 form that are still no chance hit."""


class Canaries:
    """Mints canaries by the place that they are put into, and finds them again."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, place: str, prefix: str = "") -> str:
        """Give the canary of this place: always the same word, letters and digits only."""
        if place not in self.words:
            self.words[place] = f"{prefix}canary{secrets.token_hex(10)}"
        return self.words[place]

    def add(self, place: str, word: str) -> None:
        """Search for a word that came about elsewhere."""
        self.words[place] = word

    def found_in(self, data: bytes, besides: tuple[str, ...] = ()) -> list[str]:
        """Give the places whose canaries stand in the data; `besides`: beginnings of places that may."""
        texts = [data, *unpacked(data)]
        lowered = [text.lower() for text in texts]
        return [
            place
            for place, word in self.words.items()
            if not place.startswith(besides or ("\0",))
            and any(
                form.lower() in low if folds else form in text
                for form, folds in forms(word)
                for text, low in zip(texts, lowered, strict=True)
            )
        ]


def forms(word: str) -> list[tuple[bytes, bool]]:
    """Give the spellings to look for, and whether their case may differ."""
    plain = word.encode()
    return [
        (plain, True),
        (quote(word, safe="").encode(), True),
        ("".join(f"%{byte:02x}" for byte in plain).encode(), True),
        (json.dumps(word)[1:-1].encode(), True),
        ("".join(f"\\u{ord(letter):04x}" for letter in word).encode(), True),
        (plain.hex().encode(), True),
        ("".join(f"\\x{byte:02x}" for byte in plain).encode(), True),
        (word.encode("utf-16-le"), False),
        *((core, False) for core in base64_cores(plain)),
    ]


def base64_cores(plain: bytes) -> list[bytes]:
    """Give what base64 makes of the bytes at each of three alignments, without what the neighbours decide."""
    cores = []
    for shift in range(3):
        padded = bytes(shift) + plain
        whole = base64.b64encode(padded[: len(padded) // 3 * 3])
        core = whole[4:] if shift else whole
        if len(core) >= SHORTEST:
            cores += [core, core.replace(b"+", b"-").replace(b"/", b"_")]
    return cores


def unpacked(data: bytes) -> list[bytes]:
    """Give what is inside gzip and zlib data, at its beginning only."""
    found = []
    for open_ in (gzip.decompress, zlib.decompress):
        try:
            found.append(open_(data))
        except (OSError, EOFError, zlib.error):
            continue
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
