"""Which rule matched: each definition is asked alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wirekey.policy.rego import Rego

if TYPE_CHECKING:
    from wirekey.policy.modules import Modules


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A definition that had something to say. `value` is JSON; `text` the first line of the rule."""

    rule: str
    file: str
    line: int
    value: Any
    text: str


def matching_rules(modules: Modules, query: str, given: bytes) -> list[RuleMatch]:
    """Find the definitions of the asked package that speak about an input, denials first.

    What is false, or denies for no reason, does not speak; a default does where no other rule of its name does.
    """
    found: list[RuleMatch] = []
    said = Rego(modules, query).alone(given)
    for definition, value in sorted(said, key=lambda each: each[0].default):
        name, place = definition.path[-1], definition.place
        if definition.default and any(voice.rule == name for voice in found):
            continue
        if value not in (None, [], False) or (definition.default and value is not None):
            line = modules.rego[place.file].splitlines()[place.line - 1]
            found.append(RuleMatch(name, place.file, place.line, value, line[place.column - 1 :].strip()))
    order = ("deny", "allow", "model", "max_tokens")
    return sorted(found, key=lambda voice: order.index(voice.rule))
