"""Runs a policy's own tests as `opa test` does: rules whose names begin with `test_`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wirekey_rego.errors import CompileError, EvaluationError, RegoProblem
from wirekey_rego.loading import LoadedProgram, check_program
from wirekey_rego.parsing import parse_modules
from wirekey_rego.program import generate_tests, tests_of
from wirekey_rego.syntax import read_syntax

if TYPE_CHECKING:
    from collections.abc import Mapping

_values = msgspec.json.Decoder(list[Any])


def failed_tests(modules: Mapping[str, str], data: Mapping[str, Any] | None = None) -> list[RegoProblem]:
    """Return the tests that fail. Those named `todo_test_` are skipped. Raises CompileError.

    `modules`: source by file name, of the policy and of its tests. `data`: the document `data`.
    """
    data = data or {}
    trees = parse_modules(modules)
    program = generate_tests(trees)
    if problems := check_program(program, read_syntax(trees), data):
        raise CompileError(problems)
    loaded = LoadedProgram(program, data)
    found = []
    for index, path in enumerate(tests_of(program)):
        definition = program.definitions[path][0]
        place, reason = definition.place, ""
        if definition.kind != "value":
            reason = "is not a test. Write it as `test_name if { … }`"
        else:
            try:
                loaded.set_input(b"{}")
                values = _values.decode(loaded.value_of(f"test_{index}"))
                reason = "" if values and values[0] not in (None, False) else "fails"
            except EvaluationError as error:
                reason = f"fails: {error}"
        if reason:
            found.append(RegoProblem(place.file, place.line, place.column, f"the test {path[-1]} {reason}"))
    return found
