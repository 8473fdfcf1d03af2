"""Loads a generated program into an engine of the library, and maps its errors to the policy's files."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from wirekey_rego.errors import CompileError, EvaluationError, RegoProblem
from wirekey_rego.library import RegorusEngine, RegorusError
from wirekey_rego.parsing import problem_of
from wirekey_rego.program import CONSTANTS, DECISION_PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey_rego.generated import GeneratedProgram
    from wirekey_rego.syntax import Syntax

_GENERATED_NAME = re.compile(r"\b(\w+?)__\d+\b")


class LoadedProgram:
    """A program in an engine. Belongs to the thread that creates it. Raises CompileError.

    Most of the library's errors appear at the first evaluation.
    """

    def __init__(self, program: GeneratedProgram, data: Mapping[str, Any]) -> None:
        self.program = program
        self._engine = RegorusEngine()
        try:
            self._engine.call("add_data_json", json.dumps({**data, CONSTANTS: program.constants}))
        except RegorusError as error:
            raise CompileError([RegoProblem("data", None, None, str(self._problem(error)))]) from None
        try:
            for name, text in program.sources.items():
                self._engine.call("add_policy", name, text)
            self._engine.call("eval_query_as_json", "true")
        except RegorusError as error:
            raise CompileError([self._problem(error)]) from None

    def set_input(self, given: bytes) -> None:
        """Set the input, which is JSON. Raises EvaluationError."""
        try:
            self._engine.call("set_input_json", given.decode())
        except RegorusError as error:
            raise EvaluationError(str(self._problem(error))) from None

    def value_of(self, rule: str) -> bytes:
        """Return the value of a rule of the decision package, as JSON. Raises EvaluationError."""
        try:
            return self._engine.call("eval_rule_as_json", f"data.{DECISION_PACKAGE}.{rule}").encode()  # type: ignore[no-any-return]
        except RegorusError as error:
            raise EvaluationError(str(self._problem(error))) from None

    def _problem(self, error: RegorusError) -> RegoProblem:
        """Return the library's error with its position in the policy's files."""
        problem = problem_of(error)
        message = _GENERATED_NAME.sub(r"\1", problem.message)
        if problem.line is None or problem.column is None:
            return RegoProblem(problem.file, None, None, message)
        place = self.program.positions.original(problem.file, problem.line, problem.column)
        return RegoProblem(*place, message) if place else RegoProblem("policy", None, None, message)


def check_program(program: GeneratedProgram, syntax: Syntax, data: Mapping[str, Any]) -> list[RegoProblem]:
    """Return why a program cannot be loaded: what is refused, and rules that data would hide."""
    return [*dict.fromkeys(program.problems), *data_problems(syntax, data)]


def data_problems(found: Syntax, data: Mapping[str, Any]) -> list[RegoProblem]:
    """Return a problem for each rule that data with the same path would hide."""
    problems = []
    for rule in found.rules:
        node: Any = data
        for part in (*rule.package.split(".")[1:], rule.name):
            if not isinstance(node, dict):
                break
            node = node.get(part)
        if node is not None:
            message = f"{rule.package}.{rule.name} is also set by a data file. Rename one of them"
            problems.append(RegoProblem(rule.module, rule.line, None, message))
    return problems
