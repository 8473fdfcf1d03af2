"""Decisions that need not be made twice: of calls that differ in nothing that the policy can see.

A policy whose answer depends on its input and data alone gives the same answer to the same input. Where its text names
neither the call's id nor its time, nor the input as a whole, nor a function that gives something else each time, the
input without these two is the whole of what the answer can depend on. In doubt nothing is remembered.
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
    """Return whether the modules' texts, comments and strings included, show that answers can be remembered."""
    return all(is_timeless(source) for source in sources)


def is_timeless(source: str) -> bool:
    if _CHANGING.search(source):
        return False
    for found in _FIELD.finditer(source):
        name = found[1] or found[2]
        if name is None or name in PER_CALL:
            return False
    # An `import input.time as t`, too, is found above. Letters outside ASCII could look like `input` in some reading.
    return not _UNUSUAL.search(source)


def without_call_fields(given: Input) -> Input:
    return {name: value for name, value in given.items() if name not in PER_CALL}


def cache_key(asked: bytes) -> bytes:
    """Return the key of an input without moment, as JSON: always as short, as clients choose how long an input is."""
    return sha256(asked).digest()


class DecisionCache:
    """The latest decisions of one revision."""

    def __init__(self) -> None:
        self._decisions: dict[bytes, Decision] = {}

    def __len__(self) -> int:
        return len(self._decisions)

    def find(self, key: bytes) -> Decision | None:
        return self._decisions.get(key)

    def keep(self, key: bytes, decision: Decision) -> None:
        """Keep a decision; the caller keeps none that is a failure to decide."""
        if len(self._decisions) >= MAX_DECISIONS:
            del self._decisions[next(iter(self._decisions))]
        self._decisions[key] = decision
