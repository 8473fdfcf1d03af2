"""Host names as requests write them: exact lower-case ASCII or nothing."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+")
NUMERIC = re.compile(r"(?:0x[0-9a-f]+|[0-9]+)(?:\.(?:0x[0-9a-f]+|[0-9]+))*", re.IGNORECASE)


def is_canonical(host: str) -> bool:
    """Return whether `host` is a canonical name: no trailing dot, no upper case, not a number."""
    return bool(HOST.fullmatch(host)) and not NUMERIC.fullmatch(host)


def authority_names(value: str, host: str, port: int = 443) -> bool:
    """Return whether a Host or :authority value is `host`, with or without the port."""
    return value in (host, f"{host}:{port}")


def pattern_of(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that fully matches a host name if one of the globs does, or None without globs."""
    parts = [translate(glob) for glob in globs]
    return re.compile("|".join(parts), re.ASCII) if parts else None
