"""Rego by regorus, a library in Rust. The only module that knows it; another one needs the same two methods.

Its pinches: most errors come with the first evaluation; what panics is a BaseException; an engine belongs to the
thread that made it; while it works nothing else of the process does, and nothing can stop it (see `judge`).
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import regorus

from wirekey.policy import syntax
from wirekey.policy.decision import UndecidedError
from wirekey.policy.modules import PolicyError, PolicyProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.policy.modules import Modules
    from wirekey.policy.syntax import Syntax

QUERY = re.compile(r"data(?:\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)

_PLACE = re.compile(r"--> (.+?):(\d+):(\d+)\n")
_MESSAGE = re.compile(r"^(?:error: |: )(.+)$", re.MULTILINE)
_V1_WORDS = re.compile(r"^[^#\n]*(?:\bif\b|\bcontains\b\s+\w)", re.MULTILINE)
_PASSING_ON = (KeyboardInterrupt, SystemExit, GeneratorExit)


class Expression(msgspec.Struct):
    value: msgspec.Raw = msgspec.Raw()


class Result(msgspec.Struct):
    expressions: list[Expression]


class Answer(msgspec.Struct):
    result: list[Result] = []


_answer = msgspec.json.Decoder(Answer)


class Interpreter(Protocol):
    """A compiled policy."""

    @property
    def syntax(self) -> Syntax: ...

    def answer(self, given: bytes) -> bytes:
        """Give the document that is asked for, for an input; both JSON. Raises UndecidedError."""


class Rego:
    """A policy compiled for one query, such as `data.wirekey.authz`. Raises PolicyError.

    For the thread that made it.
    """

    def __init__(self, modules: Modules, query: str) -> None:
        if not QUERY.fullmatch(query):
            raise PolicyError([PolicyProblem("policy.query", None, None, f"{query!r} is no path such as data.a.authz")])
        self._query = query
        self._engine = regorus.Engine()
        self._engine.set_gather_prints(True)
        problems = [problem for name, text in modules.rego.items() if (problem := self._add(name, text))]
        if problems:
            raise PolicyError(problems)
        self.syntax = syntax.read_syntax(json.loads(self._engine.get_ast_as_json()))
        problems = [*syntax.call_problems(self.syntax, builtins()), *data_problems(self.syntax, modules.data)]
        if query not in self.syntax.packages:
            problems.append(PolicyProblem("policy.query", None, None, no_package(query, self.syntax.packages)))
        if problems:
            raise PolicyError(problems)
        self._prints = any(call.path == ("print",) for _, call in self.syntax.calls)
        try:
            guarded(self._engine.add_data_json, json.dumps(modules.data))
        except UndecidedError as error:
            raise PolicyError([PolicyProblem("data", None, None, str(error))]) from None

    def answer(self, given: bytes) -> bytes:
        engine = self._engine
        try:
            engine.set_input_json(given.decode())
            document = engine.eval_query_as_json(self._query)
            if self._prints:
                engine.take_prints()
        except _PASSING_ON:
            raise
        except BaseException as error:
            raise UndecidedError(str(problem_of(error))) from None
        results = _answer.decode(document).result
        if not results or not results[0].expressions or not (value := bytes(results[0].expressions[0].value)):
            raise UndecidedError(f"{self._query} is undefined.")
        return value

    def _add(self, name: str, text: str) -> PolicyProblem | None:
        try:
            guarded(self._engine.add_policy, name, text)
        except UndecidedError as error:
            problem: PolicyProblem = error.args[1]
            if _V1_WORDS.search(text):
                return problem
            return problem if self._add_v0(name, text) else None
        return None

    def _add_v0(self, name: str, text: str) -> bool:
        """Take a module in the older language, in which rules have no `if`. True: it is none of that either."""
        self._engine.set_rego_v0(True)
        try:
            guarded(self._engine.add_policy, name, text)
        except UndecidedError:
            return True
        finally:
            self._engine.set_rego_v0(False)
        return False


def guarded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call into the library. Raises UndecidedError (sentence, PolicyProblem) whatever it raises."""
    try:
        return function(*arguments)
    except _PASSING_ON:
        raise
    except BaseException as error:
        problem = problem_of(error)
        raise UndecidedError(str(problem), problem) from None


def problem_of(error: BaseException) -> PolicyProblem:
    """Read place and message of the library's error text, without its picture of the line."""
    text = str(error).partition("\nStack backtrace:")[0]
    place, message = _PLACE.search(text), _MESSAGE.search(text)
    sentence = message[1] if message else " ".join(text.split()) or type(error).__name__
    # It may quote what a caller sent.
    sentence = "".join(character if character.isprintable() else " " for character in sentence[:300])
    if place:
        return PolicyProblem(place[1], int(place[2]), int(place[3]), sentence)
    return PolicyProblem("policy", None, None, sentence)


@functools.cache
def builtins() -> frozenset[str]:
    """Name the builtins that policies may use."""
    engine = regorus.Engine()
    engine.add_policy("builtins.rego", "package builtins\nnames := opa.runtime().builtins")
    return frozenset(engine.eval_rule("data.builtins.names")) - syntax.REACHING_OUT


def data_problems(found: Syntax, data: dict[str, Any]) -> list[PolicyProblem]:
    """Refuse data that stands where a rule does: it would hide the rule."""
    problems = []
    for rule in found.rules:
        node: Any = data
        for part in (*rule.package.split(".")[1:], rule.name):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            message = f"{rule.package}.{rule.name} is set by a data file, too. Rename one of them"
            problems.append(PolicyProblem(rule.module, rule.line, None, message))
    return problems


def no_package(query: str, packages: set[str]) -> str:
    named = sorted(packages, key=lambda package: (not package.endswith("authz"), package))
    return f"there is no package at {query}. There is {', '.join(named[:5])}: set policy.query to the one that decides"
