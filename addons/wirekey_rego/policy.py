"""A policy compiled for one query. Constructs that regorus evaluates unlike OPA are rewritten first, or refused.

While the library works, nothing else in the process runs and nothing can stop it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey_rego.errors import CompileError, EvaluationError, UnknownPackage
from wirekey_rego.loading import LoadedProgram, check_program
from wirekey_rego.parsing import parse_modules
from wirekey_rego.program import generate_program
from wirekey_rego.syntax import Syntax, read_syntax

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey_rego.sourcemap import SourcePosition

_QUERY = re.compile(r"data(?:\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)

_document = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])
_values = msgspec.json.Decoder(list[Any])


@dataclass(frozen=True, slots=True)
class DefinitionValue:
    """The value of one definition of a rule on its own, or None if it is undefined or failed."""

    rule: str
    place: SourcePosition
    is_default: bool
    value: Any


class RegoPolicy:
    """A compiled policy. Made by `compile`, and belongs to the thread that made it."""

    def __init__(self, program: LoadedProgram, syntax: Syntax) -> None:
        self._loaded = program
        self.syntax = syntax

    def evaluate(self, given: bytes) -> dict[str, msgspec.Raw]:
        """Return the values of the rules, without undefined ones, as JSON. Raises EvaluationError."""
        self._loaded.set_input(given)
        fields = _document.decode(self._loaded.value_of("document"))
        return {name: values[0] for name, values in fields.items() if values}

    def evaluate_definitions(self, rule: str, given: bytes) -> list[DefinitionValue]:
        """Return the value of each definition of one of the rules. Raises EvaluationError if the input is not JSON."""
        self._loaded.set_input(given)
        definitions = self._loaded.program.entry_rules().get(rule, [])
        return [
            DefinitionValue(rule, definition.place, definition.default, self._definition_value(f"{rule}_{index}"))
            for index, definition in enumerate(definitions)
        ]

    def _definition_value(self, name: str) -> Any:
        try:
            found = _values.decode(self._loaded.value_of(f"{name}_asked"))
        except EvaluationError:
            return None
        return found[0] if found else None


def compile(  # noqa: A001  # used as wirekey_rego.compile
    modules: Mapping[str, str], query: str, rules: Sequence[str], data: Mapping[str, Any] | None = None
) -> RegoPolicy:
    """Compile a policy. Raises CompileError, and ValueError for a query that is not a package path.

    `modules`: source by file name. `query`: the package to evaluate, such as `data.app.authz`. `rules`: the names of
    its rules whose values are of interest; rules that the package lacks are left out. `data`: the document `data`.
    """
    if not is_package_path(query):
        raise ValueError(f"{query!r} is not a package path such as data.a.authz")
    data = data or {}
    trees = parse_modules(modules)
    syntax = read_syntax(trees)
    program = generate_program(trees, [(*query.split("."), rule) for rule in rules])
    problems = check_program(program, syntax, data)
    if query not in syntax.packages:
        packages = tuple(sorted(syntax.packages))
        message = f"there is no package {query}. The packages are {', '.join(packages)}"
        problems.append(UnknownPackage("policy", None, None, message, query, packages))
    if problems:
        raise CompileError(problems)
    return RegoPolicy(LoadedProgram(program, data), syntax)


def is_package_path(query: str) -> bool:
    """Return whether a query is the path of a package, such as `data.app.authz`."""
    return _QUERY.fullmatch(query) is not None
