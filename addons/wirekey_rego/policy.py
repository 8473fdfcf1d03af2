"""A policy compiled for one query. Constructs that regorus evaluates unlike OPA are rewritten first, or refused.

Most of the library's errors appear at the first evaluation. While it works, nothing else in the process runs and
nothing can stop it (see `worker`).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from wirekey.policy.decision import UndecidedError
from wirekey.policy.modules import PolicyError, PolicyProblem
from wirekey_rego import syntax
from wirekey_rego.library import RegorusEngine, RegorusError
from wirekey_rego.program import CONSTANTS, DECISION_PACKAGE, generate_program

if TYPE_CHECKING:
    from wirekey.policy.modules import Modules
    from wirekey_rego.program import Definition, GeneratedProgram
    from wirekey_rego.syntax import Syntax

QUERY = re.compile(r"data(?:\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)

_PLACE = re.compile(r"--> (.+?):(\d+):(\d+)\n")
_MESSAGE = re.compile(r"^(?:error: |: )(.+)$", re.MULTILINE)
_V1_WORDS = re.compile(r"^[^#\n]*(?:\bif\b|\bcontains\b\s+\w)", re.MULTILINE)
_GENERATED_NAME = re.compile(r"\b(\w+?)__\d+\b")

_document = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])
_values = msgspec.json.Decoder(list[Any])
_trees = msgspec.json.Decoder(list[dict[str, Any]])


class Interpreter(Protocol):
    """A compiled policy."""

    @property
    def syntax(self) -> Syntax:
        """Return what the policy's syntax trees contain."""

    def evaluate(self, given: bytes) -> bytes:
        """Return the decision document for an input; both JSON. Raises UndecidedError."""


class Rego:
    """A policy compiled for one query, such as `data.wirekey.authz`. Raises PolicyError.

    Belongs to the thread that creates it. `tests`: compile the policy's own tests and evaluate those instead of
    decisions.
    """

    def __init__(self, modules: Modules, query: str, *, tests: bool = False) -> None:
        if not QUERY.fullmatch(query):
            raise PolicyError(
                [PolicyProblem("policy.query", None, None, f"{query!r} is not a package path such as data.a.authz")]
            )
        self._query = query
        tree = parse_modules(modules.rego | modules.tests if tests else modules.rego)
        self.syntax = syntax.read_syntax(tree)
        self.program: GeneratedProgram = generate_program(tree, query, tests=tests)
        problems = [*dict.fromkeys(self.program.problems), *data_problems(self.syntax, modules.data)]
        if query not in self.syntax.packages:
            problems.append(PolicyProblem("policy.query", None, None, unknown_package(query, self.syntax.packages)))
        if problems:
            raise PolicyError(problems)
        self._engine = RegorusEngine()
        try:
            self._engine.call("add_data_json", json.dumps(modules.data | {CONSTANTS: self.program.constants}))
        except RegorusError as error:
            raise PolicyError([PolicyProblem("data", None, None, str(self._problem(error)))]) from None
        try:
            for name, text in self.program.sources.items():
                self._engine.call("add_policy", name, text)
            self._engine.call("eval_query_as_json", "true")
        except RegorusError as error:
            raise PolicyError([self._problem(error)]) from None

    def evaluate(self, given: bytes) -> bytes:
        """Return the decision document. If `deny` is true, `deny_at` has the positions of its rules."""
        fields = _document.decode(self._evaluate("document", given))
        result = {name: values[0] for name, values in fields.items() if values}
        if bytes(result.get("deny", b"")) == b"true":
            result["deny_at"] = msgspec.Raw(msgspec.json.encode(self._denying_rules()))
        return msgspec.json.encode(result)

    def evaluate_definitions(self, given: bytes) -> list[tuple[Definition, Any]]:
        """Return the value of each definition of a deciding rule on its own, or None if undefined or failed."""
        self._engine.call("set_input_json", given.decode())
        return [
            (definition, self._evaluate_definition(name, index))
            for name, definitions in self.deciding_rules().items()
            for index, definition in enumerate(definitions)
        ]

    def deciding_rules(self) -> dict[str, list[Definition]]:
        """Return the definitions of the rules that decide, by name."""
        package = tuple(self._query.split("."))
        return {path[-1]: found for path, found in self.program.deciding_rules(package)}

    def test_value(self, index: int) -> Any:
        """Return the value of one of the policy's tests, or None if undefined. Raises UndecidedError."""
        found = _values.decode(self._evaluate(f"test_{index}", b"{}"))
        return found[0] if found else None

    def _evaluate(self, rule: str, given: bytes) -> bytes:
        try:
            self._engine.call("set_input_json", given.decode())
            return self._engine.call("eval_rule_as_json", f"data.{DECISION_PACKAGE}.{rule}").encode()  # type: ignore[no-any-return]
        except RegorusError as error:
            raise UndecidedError(str(self._problem(error))) from None

    def _denying_rules(self) -> list[str]:
        definitions = self.deciding_rules()["deny"]
        return [
            f"{self._query.removeprefix('data.')}, {definition.place.file}:{definition.place.line}"
            for index, definition in enumerate(definitions)
            if self._evaluate_definition("deny", index) is True
        ]

    def _evaluate_definition(self, name: str, index: int) -> Any:
        try:
            answer = self._engine.call("eval_rule_as_json", f"data.{DECISION_PACKAGE}.{name}_{index}_asked")
        except RegorusError:
            return None
        found = _values.decode(answer)
        return found[0] if found else None

    def _problem(self, error: RegorusError) -> PolicyProblem:
        """Return the library's error with its position in the operator's files."""
        problem = problem_of(error)
        message = _GENERATED_NAME.sub(r"\1", problem.message)
        if problem.line is None or problem.column is None:
            return PolicyProblem(problem.file, None, None, message)
        place = self.program.positions.original(problem.file, problem.line, problem.column)
        return PolicyProblem(*place, message) if place else PolicyProblem("policy", None, None, message)


def parse_modules(sources: dict[str, str]) -> list[dict[str, Any]]:
    """Return the syntax trees of modules in either version of the language. Raises PolicyError."""
    parser = RegorusEngine()
    problems = [problem for name, text in sources.items() if (problem := add_module(parser, name, text))]
    if problems:
        raise PolicyError(problems)
    return _trees.decode(parser.call("get_ast_as_json"))


def add_module(parser: RegorusEngine, name: str, text: str) -> PolicyProblem | None:
    """Parse a module. Return its problem, or None."""
    try:
        parser.call("add_policy", name, text)
    except RegorusError as error:
        if _V1_WORDS.search(text) or not add_v0_module(parser, name, text):
            return problem_of(error)
    return None


def add_v0_module(parser: RegorusEngine, name: str, text: str) -> bool:
    """Parse a module as Rego v0, in which rules have no `if`. Return whether it is valid."""
    parser.call("set_rego_v0", True)
    try:
        parser.call("add_policy", name, text)
    except RegorusError:
        return False
    finally:
        parser.call("set_rego_v0", False)
    return True


def problem_of(error: RegorusError) -> PolicyProblem:
    """Return position and message of the library's error text, without its picture of the line."""
    text = str(error).partition("\nStack backtrace:")[0]
    place, message = _PLACE.search(text), _MESSAGE.search(text)
    sentence = message[1] if message else " ".join(text.split())
    # It may quote what a caller sent.
    sentence = "".join(character if character.isprintable() else " " for character in sentence[:300])
    if place:
        return PolicyProblem(place[1], int(place[2]), int(place[3]), sentence)
    return PolicyProblem("policy", None, None, sentence)


def data_problems(found: Syntax, data: dict[str, Any]) -> list[PolicyProblem]:
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
            problems.append(PolicyProblem(rule.module, rule.line, None, message))
    return problems


def unknown_package(query: str, packages: set[str]) -> str:
    """Return the message for a query of which there is no package."""
    named = sorted(packages, key=lambda package: (not package.endswith("authz"), package))
    return f"there is no package {query}. Set policy.query to the one that decides: {', '.join(named[:5])}"
