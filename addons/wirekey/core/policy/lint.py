"""Probable mistakes in a policy: unknown fields, unused packages, the clock."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from wirekey.core.policy.input import FIELDS, HEADERS
from wirekey.core.policy.modules import PolicyProblem
from wirekey.core.policy.rego import unused_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_rego import Mention, Syntax

NAMES = {field.name for field in FIELDS} | {"agent"}
GROUPS = {
    "agent": {name.removeprefix("agent.") for name in NAMES if name.startswith("agent.")},
    "headers": set(HEADERS),
}


def lint(syntax: Syntax, query: str) -> Iterator[PolicyProblem]:
    """Yield probable mistakes, in the order of the files."""
    for mention in sorted(syntax.inputs, key=lambda each: (each.module, each.line, each.column)):
        if problem := unknown_field(mention):
            yield problem
    for _, call in syntax.calls:
        if call.path == ("time", "now_ns"):
            message = "time.now_ns changes at each replay. Use time.parse_rfc3339_ns(input.time)"
            yield PolicyProblem(call.module, call.line, call.column, message)
    for package, module in unused_packages(syntax, query).items():
        yield PolicyProblem(module, None, None, f"package {package} is not used: the query is {query}")


def unknown_field(mention: Mention) -> PolicyProblem | None:
    """Return the problem of a reference to an unknown field, or None."""
    name, *rest = mention.path[1:]
    if name not in {known.partition(".")[0] for known in NAMES}:
        return problem_of(mention, f"input.{name}", name, {known for known in NAMES if "." not in known}, "input.{}")
    if rest and name in GROUPS and rest[0] not in GROUPS[name]:
        shape = 'input.headers["{}"]' if name == "headers" else "input.agent.{}"
        return problem_of(mention, shape.format(rest[0]), rest[0], GROUPS[name], shape)
    return None


def problem_of(mention: Mention, written: str, name: str, known: set[str], shape: str) -> PolicyProblem:
    """Return the problem of an unknown name, with a suggestion if a known one is similar."""
    close = difflib.get_close_matches(name, sorted(known), 1, 0.5)
    hint = f". Did you mean {shape.format(close[0])}?" if close else ""
    return PolicyProblem(mention.module, mention.line, mention.column, f"there is no {written}{hint}")
