"""Decisions that need not be made twice: of calls that differ in nothing that the policy can see.

A policy whose result depends on its input and data alone returns the same result for the same input. If its text names
neither the call's id nor its time, nor the input as a whole, nor a function with changing results, then the fields of
the input that it names are all that the result can depend on. The policy gets only these. In doubt nothing is cached,
and the policy gets the whole input.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.core.policy.decision import Decision
    from wirekey.core.policy.input import Input

PER_CALL = frozenset({"id", "time"})
MAX_DECISIONS = 4096

_FIELD = re.compile(r'\binput\b(?:\s*\.\s*([A-Za-z_]\w*)|\s*\[\s*"([A-Za-z_]\w*)"\s*\])?')
_CHANGING = re.compile(r"\b(?:time\s*\.\s*now_ns|rand|uuid|opa|http|io|net\s*\.\s*lookup\w*|crypto)\b")
_UNUSUAL = re.compile(r"[^\W\x00-\x7f]")


def fields_of(sources: Iterable[str]) -> tuple[str, ...] | None:
    """Return the fields of the input that a policy's result can depend on, or None if it cannot be cached.

    The texts of all modules are searched, including comments and strings.
    """
    fields: set[str] = set()
    for source in sources:
        # The pattern below also finds `import input.time as t`. Letters outside ASCII could look like `input` to a
        # parser.
        if _CHANGING.search(source) or _UNUSUAL.search(source):
            return None
        for found in _FIELD.finditer(source):
            name = found[1] or found[2]
            if name is None or name in PER_CALL:
                return None
            fields.add(name)
    return tuple(sorted(fields))


def only_fields(given: Input, fields: Iterable[str]) -> Input:
    """Return these fields of an input, as far as it has them."""
    return {name: given[name] for name in fields if name in given}


def cache_key(encoded: bytes) -> bytes:
    """Return the key of an input as JSON. It has a fixed length, as clients control the length of an input."""
    return sha256(encoded).digest()


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
