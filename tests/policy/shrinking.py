"""Shrink a disagreement between the engines to a small policy and a small input that still show it."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.policy.comparison import Disagreement, disagreements, embedded_answers
from tests.rego.oracle import Asked, Oracle

_CODE = re.compile(r"rego_\w+")


def shrunk(found: Disagreement, oracle: Oracle) -> Disagreement:
    """Return the smallest disagreement of the same kind that leaving out parts, one after the other, leads to."""
    asked = replace(found.asked, inputs=[] if found.given is None else [found.given])

    def check(candidate: Asked) -> Disagreement | None:
        opa = oracle.ask(candidate)
        again = disagreements(candidate, opa, embedded_answers(candidate), strict=False)
        return again[0] if again and kind(again[0]) == kind(found) else None

    smaller = next_smaller(asked, check)
    while smaller is not None:
        asked, found = smaller
        smaller = next_smaller(asked, check)
    return found


def kind(found: Disagreement) -> str:
    """Return what must stay the same: which side decides, or why OPA refuses the policy."""
    if found.given is None:
        return "".join(_CODE.findall(found.opa)[:1])
    return f"{found.opa.partition(':')[0] == 'error'} {found.wirekey.partition(':')[0] == 'error'}"


def next_smaller(asked: Asked, check: Callable[[Asked], Disagreement | None]) -> tuple[Asked, Disagreement] | None:
    for candidate in candidates(asked):
        if again := check(candidate):
            return candidate, again
    return None


def candidates(asked: Asked) -> Iterator[Asked]:
    """Yield the policy without one file, rule, line or input field, the larger parts first."""
    for name in asked.rego:
        if len(asked.rego) > 1:
            yield replace(asked, rego={each: text for each, text in asked.rego.items() if each != name})
    if asked.data:
        yield replace(asked, data={})
    for separator in ("\n\n", "\n"):
        for name, text in asked.rego.items():
            parts = text.rstrip("\n").split(separator)
            for place in range(1, len(parts)):
                shorter = separator.join([*parts[:place], *parts[place + 1 :]]) + "\n"
                if "{\n}" not in shorter:
                    yield replace(asked, rego=asked.rego | {name: shorter})
    for given in asked.inputs:
        for smaller in without_one_field(given):
            yield replace(asked, inputs=[smaller])


def without_one_field(given: object) -> Iterator[object]:
    if not isinstance(given, dict):
        return
    for name, value in given.items():
        yield {each: copy.deepcopy(other) for each, other in given.items() if each != name}
        for smaller in without_one_field(value):
            yield given | {name: smaller}
