"""Compare the embedded engine's decisions with OPA's, on the way that production takes: load, answer, decide."""

import re
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tests.rego.answers import only_one_failed
from tests.rego.oracle import Answer, Answers, Asked
from wirekey.core.policy.decision import Decision, UndecidedError, parse_decision, undecided
from wirekey.core.policy.decision_cache import fields_of, only_fields
from wirekey.core.policy.modules import Modules, PolicyError
from wirekey.core.policy.rego import Rego

_ALLOW = re.compile(r"^(?:default +)?allow\b", re.MULTILINE)
_OPA_CONFLICT = "eval_conflict_error"
_PACKAGE = re.compile(r"^package +([\w.]+)", re.MULTILINE)


@dataclass(frozen=True)
class Disagreement:
    """A policy and an input that the two engines decide differently. `given` is None if one refuses the policy."""

    asked: Asked
    given: Any
    opa: str
    wirekey: str

    def __str__(self) -> str:
        files = "\n".join(f"# {name}\n{text.rstrip()}\n" for name, text in self.asked.rego.items())
        data = f"data: {self.asked.data}\n" if self.asked.data else ""
        given = "" if self.given is None else f"input: {msgspec.json.encode(self.given).decode()}\n"
        return f"{files}{data}query: {self.asked.query}\n{given}OPA:     {self.opa}\nWirekey: {self.wirekey}\n"


def embedded_answers(asked: Asked) -> Answers:
    """Return what the embedded engine makes of a policy."""
    try:
        rego = Rego(Modules(asked.rego, asked.data, ""), asked.query)
    except PolicyError as error:
        return Answers(str(error), [])
    fields = fields_of(asked.rego.values())
    return Answers(None, [embedded_answer(rego, seen_fields(given, fields), asked.names) for given in asked.inputs])


def seen_fields(given: Any, fields: tuple[str, ...] | None) -> Any:
    """Return what the engine gives a policy of an input: the fields that it can depend on, if they are known."""
    return given if fields is None or not isinstance(given, dict) else only_fields(given, fields)


def embedded_answer(rego: Rego, given: Any, names: tuple[str, ...]) -> Answer:
    try:
        document = msgspec.json.decode(rego.evaluate(msgspec.json.encode(given)))
    except UndecidedError as error:
        return Answer(error=str(error))
    return Answer({name: value for name, value in document.items() if name in names})


def decided(asked: Asked, answer: Answer) -> Decision:
    """Return the decision that Wirekey makes of a document. Decisions without a document are all equal."""
    if answer.error is not None:
        return undecided("no document")
    decision = parse_decision(answer.value, None, needs_allow=needs_allow(asked))
    return replace(decision, failure="no decision") if decision.failure else decision


def needs_allow(asked: Asked) -> bool:
    """Return whether the package that decides has a rule `allow`."""
    package = asked.query.removeprefix("data.")
    return any(
        _ALLOW.search(text) and (found := _PACKAGE.search(text)) is not None and found[1] == package
        for text in asked.rego.values()
    )


def both_deny(theirs: Answer, actual: Decision) -> bool:
    """Return whether only OPA found two definitions of a rule that disagree, and the embedded engine denies as well."""
    return theirs.error is not None and _OPA_CONFLICT in theirs.error and not actual.allow


def disagreements(asked: Asked, opa: Answers, ours: Answers, *, strict: bool = True) -> list[Disagreement]:
    """Return all inputs that are decided differently. A policy that the embedded engine refuses has none.

    With `strict`, an error that only one engine has is always a disagreement.
    """
    if ours.problem is not None:
        return []
    if opa.problem is not None:
        return [Disagreement(asked, None, f"refuses: {opa.problem}", "loads it")]
    found = []
    for given, theirs, mine in zip(asked.inputs, opa.answers, ours.answers, strict=True):
        expected, actual = decided(asked, theirs), decided(asked, mine)
        if expected != actual and (strict or not (only_one_failed(theirs, mine) or both_deny(theirs, actual))):
            found.append(Disagreement(asked, given, told(expected, theirs), told(actual, mine)))
    return found


def told(decision: Decision, answer: Answer) -> str:
    if answer.error is not None:
        return f"error: {answer.error}"
    if decision.failure is not None:
        return f"no decision: {answer}"
    said = "allow" if decision.allow else f"deny {list(decision.reasons)}"
    caps = {"model": decision.model, "max_tokens": decision.max_tokens}
    return " ".join([said, *(f"{name}={value!r}" for name, value in caps.items() if value is not None)])
