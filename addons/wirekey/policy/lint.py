"""What is probably not meant in a policy: fields that there are not, packages that nobody asks, the clock."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from wirekey.policy.input import FIELDS, HEADERS
from wirekey.policy.modules import PolicyProblem
from wirekey.policy.syntax import unasked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.policy.syntax import Mention, Syntax

NAMES = {field.name for field in FIELDS} | {"agent"}
GROUPS = {
    "agent": {name.removeprefix("agent.") for name in NAMES if name.startswith("agent.")},
    "headers": set(HEADERS),
}


def lint(syntax: Syntax, query: str) -> Iterator[PolicyProblem]:
    """Find what does not do what it says, in the order of the files."""
    for mention in sorted(syntax.inputs, key=lambda each: (each.module, each.line, each.column)):
        if problem := unknown_field(mention):
            yield problem
    for _, call in syntax.calls:
        if call.path == ("time", "now_ns"):
            message = "time.now_ns is another at each replay; use time.parse_rfc3339_ns(input.time)"
            yield PolicyProblem(call.module, call.line, call.column, message)
    for package in unasked(syntax, query):
        module = next(rule.module for rule in syntax.rules if rule.package == package)
        yield PolicyProblem(module, None, None, f"package {package} decides nothing: the query is {query}")


def unknown_field(mention: Mention) -> PolicyProblem | None:
    name, *rest = mention.path[1:]
    if name not in {known.partition(".")[0] for known in NAMES}:
        return problem_of(mention, f"input.{name}", name, {known for known in NAMES if "." not in known}, "input.{}")
    if rest and name in GROUPS and rest[0] not in GROUPS[name]:
        shape = 'input.headers["{}"]' if name == "headers" else "input.agent.{}"
        return problem_of(mention, shape.format(rest[0]), rest[0], GROUPS[name], shape)
    return None


def problem_of(mention: Mention, written: str, name: str, known: set[str], shape: str) -> PolicyProblem:
    close = difflib.get_close_matches(name, sorted(known), 1, 0.5)
    hint = f"; did you mean {shape.format(close[0])}?" if close else ""
    return PolicyProblem(mention.module, mention.line, mention.column, f"there is no {written}{hint}")
