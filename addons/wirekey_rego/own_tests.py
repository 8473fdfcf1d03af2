"""Runs a policy's own tests as `opa test` does: rules whose names begin with `test_`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.policy.decision import UndecidedError
from wirekey.policy.modules import PolicyProblem
from wirekey_rego.policy import Rego
from wirekey_rego.program import tests_of

if TYPE_CHECKING:
    from wirekey.policy.modules import Modules


def failed_tests(modules: Modules, query: str) -> list[PolicyProblem]:
    """Return the tests that fail. Those named `todo_test_` are skipped. Raises PolicyError."""
    if not modules.tests:
        return []
    rego = Rego(modules, query, tests=True)
    found = []
    for index, path in enumerate(tests_of(rego.program)):
        definition = rego.program.definitions[path][0]
        place, reason = definition.place, ""
        if definition.kind != "value":
            reason = "is not a test. Write it as `test_name if { … }`"
        else:
            try:
                value = rego.test_value(index)
                reason = "" if value not in (None, False) else "fails"
            except UndecidedError as error:
                reason = f"fails: {error}"
        if reason:
            found.append(PolicyProblem(place.file, place.line, place.column, f"the test {path[-1]} {reason}"))
    return found
