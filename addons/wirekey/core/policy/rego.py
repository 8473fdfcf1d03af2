"""Wirekey's use of `wirekey_rego`: which rules decide, and how its errors are worded for an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

import wirekey_rego
from wirekey.core.policy.decision import DECIDING, UndecidedError
from wirekey.core.policy.modules import PolicyError, PolicyProblem

if TYPE_CHECKING:
    from wirekey.core.policy.modules import Modules
    from wirekey_rego import DefinitionValue, RegoProblem, Syntax

SHORT_ARRAY = ("input", "other_models")
"""An array that never has more than a few items. One loop over it costs no more than a longer policy."""


class Rego:
    """A policy compiled for one query, such as `data.wirekey.authz`. Raises PolicyError.

    Belongs to the thread that creates it. While it works, nothing else in the process runs and nothing can stop it
    (see `worker`).
    """

    def __init__(self, modules: Modules, query: str) -> None:
        check_query(query)
        self._query = query
        try:
            self._policy = wirekey_rego.compile(modules.rego, query, DECIDING, modules.data)
        except wirekey_rego.CompileError as error:
            raise policy_error(error) from None

    @property
    def syntax(self) -> Syntax:
        """Return what the policy's syntax trees contain."""
        return self._policy.syntax

    def evaluate(self, given: bytes) -> bytes:
        """Return the decision document for an input; both JSON. Raises UndecidedError.

        If `deny` is true, `deny_at` has the positions of its rules.
        """
        try:
            document = self._policy.evaluate(given)
            if bytes(document.get("deny", b"")) == b"true":
                document["deny_at"] = msgspec.Raw(msgspec.json.encode(self._denying_rules(given)))
        except wirekey_rego.EvaluationError as error:
            raise UndecidedError(str(error)) from None
        return msgspec.json.encode(document)

    def evaluate_definitions(self, given: bytes) -> list[DefinitionValue]:
        """Return the value of each definition of a deciding rule on its own. Raises UndecidedError."""
        try:
            return [value for rule in DECIDING for value in self._policy.evaluate_definitions(rule, given)]
        except wirekey_rego.EvaluationError as error:
            raise UndecidedError(str(error)) from None

    def _denying_rules(self, given: bytes) -> list[str]:
        return [
            f"{self._query.removeprefix('data.')}, {definition.place.file}:{definition.place.line}"
            for definition in self._policy.evaluate_definitions("deny", given)
            if definition.value is True
        ]


def check_query(query: str) -> None:
    """Check that a query is the path of a package. Raises PolicyError."""
    if not wirekey_rego.is_package_path(query):
        message = f"{query!r} is not a package path such as data.a.authz"
        raise PolicyError([PolicyProblem("policy.query", None, None, message)])


def failed_tests(modules: Modules) -> list[PolicyProblem]:
    """Return the policy's own tests that fail. Raises PolicyError."""
    if not modules.tests:
        return []
    try:
        return [*map(policy_problem, wirekey_rego.failed_tests(modules.rego | modules.tests, modules.data))]
    except wirekey_rego.CompileError as error:
        raise policy_error(error) from None


def unused_packages(syntax: Syntax, query: str) -> dict[str, str]:
    """Return packages called …authz that nothing uses, which are probably meant to decide, and a module of each."""
    unused = syntax.unused_packages(query).items()
    return {package: module for package, module in unused if package.endswith("authz")}


def policy_error(error: wirekey_rego.CompileError) -> PolicyError:
    """Return the error for an operator."""
    return PolicyError([*map(policy_problem, error.problems)])


def policy_problem(problem: RegoProblem) -> PolicyProblem:
    """Return the problem for an operator. That of the query names the setting."""
    if not isinstance(problem, wirekey_rego.UnknownPackage):
        return PolicyProblem(problem.file, problem.line, problem.column, problem.message)
    named = sorted(problem.packages, key=lambda package: (not package.endswith("authz"), package))
    message = f"there is no package {problem.query}. Set policy.query to the one that decides: {', '.join(named[:5])}"
    return PolicyProblem("policy.query", None, None, message)
