"""Which rule spoke: each definition is asked alone, with the others of its name blanked out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.policy.decision import UndecidedError
from wirekey.policy.modules import PolicyError
from wirekey.policy.rego import Rego

if TYPE_CHECKING:
    from wirekey.policy.modules import Modules
    from wirekey.policy.syntax import Rule

SPEAKING = ("deny", "allow", "model", "max_tokens")


@dataclass(frozen=True, slots=True)
class Voice:
    """A definition that had something to say. `value` is JSON; `text` the first line of the rule."""

    rule: str
    file: str
    line: int
    value: Any
    text: str


def voices(modules: Modules, query: str, given: bytes) -> list[Voice]:
    """Find the definitions of the asked package that speak about an input, denials first.

    What is false, or denies for no reason, does not speak; a default does where no other rule of its name does.
    """
    syntax = Rego(modules, query).syntax
    rules = [rule for rule in syntax.rules if rule.package == query and rule.name in SPEAKING]
    found: list[Voice] = []
    for rule in sorted(rules, key=lambda each: (SPEAKING.index(each.name), each.is_default, each.module, each.start)):
        if rule.is_default and any(voice.rule == rule.name for voice in found):
            continue
        value = alone(rule, rules, modules, query, given)
        if value not in (None, [], False) or (rule.is_default and value is not None):
            text = modules.rego[rule.module].encode()[rule.start :].decode(errors="replace").partition("\n")[0]
            found.append(Voice(rule.name, rule.module, rule.line, value, text.strip()))
    return found


def alone(rule: Rule, rules: list[Rule], modules: Modules, query: str, given: bytes) -> Any:
    """Give what this definition alone makes of its name; None where it is undefined or cannot be asked alone."""
    sources = dict(modules.rego)
    for other in rules:
        if other.name == rule.name and other is not rule:
            sources[other.module] = blanked(sources[other.module], other)
    try:
        document = msgspec.json.decode(Rego(replace(modules, rego=sources), query).answer(given))
    except (PolicyError, UndecidedError):
        return None
    return document.get(rule.name) if isinstance(document, dict) else None


def blanked(source: str, rule: Rule) -> str:
    """Replace a definition by blanks, line ends aside, so that all others stay where they are."""
    data = source.encode()
    end = rule.start + max(1, length_of(rule, data))
    blanks = bytes(byte if byte in b"\r\n" else 0x20 for byte in data[rule.start : end])
    return (data[: rule.start] + blanks + data[end:]).decode()


def length_of(rule: Rule, data: bytes) -> int:
    """Give the bytes of a definition. The tree leaves out a closing quote at the very end."""
    end = rule.node["span"]["end"]
    rest = data[end : end + 1]
    return int(end + (rest in (b'"', b"`")) - rule.start)
