"""Ids of calls and names of tools and documents, as each upstream accepts them.

All functions are without state: the same input gives the same output, so that a call and its result agree, and old
turns of a growing conversation stay byte-identical.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.features.translation.format_rules import FormatRules, NameLimits

_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_DOCUMENT_NAME = re.compile(r"[^A-Za-z0-9 ()\[\]-]")
MAX_DOCUMENT_NAME = 200
DOCUMENT_NAME = "document"


def call_id(text: str, to: FormatRules) -> str:
    """Return the id of a call as an upstream accepts it: the same id, or its cleaned start and a hash of the whole."""
    if to.call_ids.fullmatch(text):
        return text
    start = _NOT_IN_ID.sub("", text)[:23]
    return f"{start}_{_hash(text, 16)}"


def made_call_id(turn: int, index: int) -> str:
    """Return an id for a call of the history that has none, from its position."""
    return f"call_{turn}_{index}"


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


@dataclass(slots=True)
class ToolNames:
    """The names of the tools of one call, as the upstream accepts them, and back.

    A name that fits is not changed. Another is cleaned, cut and made distinct with a part of its hash.
    """

    limits: NameLimits
    _sent: dict[str, str] = field(default_factory=dict)
    _original: dict[str, str] = field(default_factory=dict)

    def outgoing(self, name: str) -> str:
        """Return the name that goes to the upstream."""
        found = self._sent.get(name)
        if found is None:
            found = self._sent[name] = self._cleaned(name)
            self._original[found] = name
        return found

    def incoming(self, name: str) -> str:
        """Return the client's own name for a name in a response."""
        return self._original.get(name, name)

    def _cleaned(self, name: str) -> str:
        if self.limits.allowed.fullmatch(name):
            return name
        start = _NOT_IN_ID.sub("_", name)
        if self.limits.letter_first and not re.match("[A-Za-z_]", start):
            start = f"_{start}"
        return f"{start[: self.limits.longest - 9]}_{_hash(name, 8)}"


@dataclass(slots=True)
class DocumentNames:
    """The names of the documents of one request, as Converse accepts them: a small alphabet, each name once."""

    _used: set[str] = field(default_factory=set)
    _counts: dict[str, int] = field(default_factory=dict)

    def name(self, wanted: str | None) -> str:
        """Return a name for the next document."""
        cleaned = re.sub(" {2,}", " ", _NOT_IN_DOCUMENT_NAME.sub(" ", wanted or "")).strip()
        cleaned = cleaned[:MAX_DOCUMENT_NAME].strip() or DOCUMENT_NAME
        found, count = cleaned, self._counts.get(cleaned, 1)
        while found in self._used:
            count += 1
            ending = f" ({count})"
            found = cleaned[: MAX_DOCUMENT_NAME - len(ending)] + ending
        self._used.add(found)
        self._counts[cleaned] = count
        return found
