"""Labels: who or what a call is for, beyond its agent, such as its team, its session or its run. Pure.

A label is verified if it comes from the agent's own entry or from a verified token. It is unverified if the client has
written it into a header. A verified label hides an unverified one of the same name, so no header can change it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

type LabelPairs = tuple[tuple[str, str], ...]
"""Labels by name, sorted. Of an agent, which must be hashable."""

MOST = 16
"""Labels of one call."""
LONGEST = MOST * (64 + 64 + len('"":"",')) + 2
"""Characters of the labels of one call as JSON."""
NAME_PATTERN = r"[a-z][a-z0-9_]{0,63}"
VALUE_PATTERN = r"(?!.*wk_[A-Za-z0-9]{8})[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,63}"
"""A value that looks like an agent token is not valid, because labels are recorded."""
NAME = re.compile(NAME_PATTERN, re.ASCII)
VALUE = re.compile(VALUE_PATTERN, re.ASCII)
NAME_RULE = "1 to 64 lower-case letters, digits and '_', and begins with a letter"
VALUE_RULE = "1 to 64 letters, digits and '._:/@+-', and begins with a letter or a digit"
OF_LABEL = "label:"
"""Precedes the name of a label where the name of a field could stand: in groups of sums and in `per` of quotas."""
UNVERIFIED = " (unverified)"
"""Follows the value of an unverified label where only one text is shown. No value has a space."""

NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of one call by name. No name is in two of them.

    `invalid`: the names of labels whose value was not accepted, sorted. Such a label is absent.
    """

    verified: Mapping[str, str] = field(default=NO_LABELS)
    unverified: Mapping[str, str] = field(default=NO_LABELS)
    invalid: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.verified or self.unverified or self.invalid)


NONE = Labels()


@dataclass(frozen=True, slots=True)
class FoundLabels:
    """Labels from one source: the accepted ones by name, and the names of those that were not accepted."""

    accepted: LabelPairs = ()
    invalid: tuple[str, ...] = ()


NOTHING = FoundLabels()


def checked(found: Iterable[tuple[str, str]]) -> FoundLabels:
    """Return the labels of (name, value) pairs. One with two different values is not accepted."""
    accepted: dict[str, str] = {}
    invalid: set[str] = set()
    for name, value in found:
        if not VALUE.fullmatch(value) or accepted.setdefault(name, value) != value:
            invalid.add(name)
    kept = tuple(sorted((name, value) for name, value in accepted.items() if name not in invalid))
    return FoundLabels(kept, tuple(sorted(invalid)))


@lru_cache(maxsize=256)
def combined(verified: LabelPairs, unverified: FoundLabels = NOTHING, invalid: tuple[str, ...] = ()) -> Labels:
    """Return the labels of a call. Of more than `MOST`, the last unverified ones are not accepted.

    `invalid`: the names of labels that would be verified, but whose value is not accepted. No header replaces them.
    """
    if not verified and unverified is NOTHING and not invalid:
        return NONE
    known = dict(verified)
    others = [pair for pair in unverified.accepted if pair[0] not in known and pair[0] not in invalid]
    room = max(0, MOST - len(known))
    refused = {*invalid, *(name for name in unverified.invalid if name not in known)}
    refused.update(name for name, _ in others[room:])
    return Labels(known, dict(others[:room]), tuple(sorted(refused)))


def checked_pairs(labels: Mapping[str, str]) -> LabelPairs:
    """Return labels that an operator has set, sorted. Raises ValueError, which says what to correct."""
    for name, value in labels.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is not a valid name of a label. It has {NAME_RULE}.")
        if not VALUE.fullmatch(value):
            raise ValueError(f"{value[:80]!r} is not a valid value of the label {name}. It has {VALUE_RULE}.")
    if len(labels) > MOST:
        raise ValueError(f"{len(labels)} labels are too many. At most {MOST} are allowed.")
    return tuple(sorted(labels.items()))
