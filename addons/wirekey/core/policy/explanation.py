"""Finds the rules that matched, by evaluating each definition on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wirekey.core.policy.decision import DECIDING
from wirekey.core.policy.rego import Rego

if TYPE_CHECKING:
    from wirekey.core.policy.modules import Modules


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A definition that matched. `value` is JSON; `text` the first line of the rule."""

    rule: str
    file: str
    line: int
    value: Any
    text: str


def matching_rules(modules: Modules, query: str, given: bytes) -> list[RuleMatch]:
    """Return the definitions of the package that match an input, denials first.

    A definition that is false, or denies without a reason, does not match. A default matches if no other rule of its
    name does.
    """
    found: list[RuleMatch] = []
    values = Rego(modules, query).evaluate_definitions(given)
    for each in sorted(values, key=lambda each: each.is_default):
        place = each.place
        if each.is_default and any(match.rule == each.rule for match in found):
            continue
        if each.value not in (None, [], False) or (each.is_default and each.value is not None):
            line = modules.rego[place.file].splitlines()[place.line - 1]
            found.append(RuleMatch(each.rule, place.file, place.line, each.value, line[place.column - 1 :].strip()))
    return sorted(found, key=lambda match: DECIDING.index(match.rule))
