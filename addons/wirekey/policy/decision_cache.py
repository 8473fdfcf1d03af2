"""Decisions that need not be made twice: of calls that differ in nothing that the policy can see.

A policy whose result depends on its input and data alone returns the same result for the same input. If its text names
neither the call's id nor its time, nor the input as a whole, nor a function with changing results, then the input
without id and time is all that the result can depend on. In doubt nothing is cached.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.policy.decision import Decision
    from wirekey.policy.input import Input

PER_CALL = frozenset({"id", "time"})
MAX_DECISIONS = 4096

_FIELD = re.compile(r'\binput\b(?:\s*\.\s*([A-Za-z_]\w*)|\s*\[\s*"([A-Za-z_]\w*)"\s*\])?')
_CHANGING = re.compile(r"\b(?:time\s*\.\s*now_ns|rand|uuid|opa|http|io|net\s*\.\s*lookup\w*|crypto)\b")
_UNUSUAL = re.compile(r"[^\W\x00-\x7f]")


def is_cacheable(sources: Iterable[str]) -> bool:
    """Return whether the modules' texts, including comments and strings, show that results can be cached."""
    return all(is_timeless(source) for source in sources)


def is_timeless(source: str) -> bool:
    """Return whether one module's result depends on its input, without id and time, and data alone."""
    if _CHANGING.search(source):
        return False
    for found in _FIELD.finditer(source):
        name = found[1] or found[2]
        if name is None or name in PER_CALL:
            return False
    # The pattern above also finds `import input.time as t`. Letters outside ASCII could look like `input` to a parser.
    return not _UNUSUAL.search(source)


def without_call_fields(given: Input) -> Input:
    """Return the input without the fields that differ in each call."""
    return {name: value for name, value in given.items() if name not in PER_CALL}


def cache_key(asked: bytes) -> bytes:
    """Return the key of an input as JSON. It has a fixed length, as clients control the length of an input."""
    return sha256(asked).digest()


class DecisionCache:
    """The latest decisions of one revision of the policy, at most MAX_DECISIONS."""

    def __init__(self) -> None:
        self._decisions: dict[bytes, Decision] = {}

    def __len__(self) -> int:
        return len(self._decisions)

    def find(self, key: bytes) -> Decision | None:
        """Return the decision for a key, or None."""
        return self._decisions.get(key)

    def keep(self, key: bytes, decision: Decision) -> None:
        """Store a decision. The caller stores no failures."""
        if len(self._decisions) >= MAX_DECISIONS:
            del self._decisions[next(iter(self._decisions))]
        self._decisions[key] = decision
