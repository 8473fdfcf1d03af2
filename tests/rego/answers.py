"""What the front end makes of the policies that OPA is asked about."""

import json
import re
from typing import Any

import wirekey_rego
from tests.rego.oracle import Answer, Answers, Asked

_BUILTIN_ERRORS = ("eval_type_error", "eval_builtin_error", "expects .* (argument|collection)", "requires .* argument")
_BUILTIN_ERROR = re.compile("|".join([*_BUILTIN_ERRORS, "divide by zero", "modulo on floating", "could not parse"]))
_CONFLICT = re.compile("rule conflicts with rule|functions? (must not produce|produced) multiple outputs")


def answers_of(asked: Asked) -> Answers:
    """Return what the embedded engine makes of a policy."""
    try:
        policy = wirekey_rego.compile(asked.rego, asked.query, asked.names, asked.data)
    except wirekey_rego.CompileError as error:
        return Answers(str(error), [])
    return Answers(None, [answer_of(policy, given) for given in asked.inputs])


def answer_of(policy: wirekey_rego.RegoPolicy, given: Any) -> Answer:
    try:
        return Answer(document(policy, given))
    except wirekey_rego.EvaluationError as error:
        return Answer(error=str(error))


def document(policy: wirekey_rego.RegoPolicy, given: Any) -> dict[str, Any]:
    """Return the values of the rules for an input, decoded."""
    return {name: json.loads(bytes(value)) for name, value in policy.evaluate(json.dumps(given).encode()).items()}


def only_one_failed(theirs: Answer, mine: Answer) -> bool:
    """Return whether one engine only evaluated something that ends an evaluation.

    That is a builtin that got an operand of a type that it does not take, or, for the embedded engine, a rule of which
    two definitions disagree. Each engine evaluates the expressions of a policy in its own order, and leaves out those
    that no longer matter. An error denies the call.
    """
    if theirs.error is not None:
        return mine.error is None and _BUILTIN_ERROR.search(theirs.error) is not None
    error = mine.error or ""
    return _BUILTIN_ERROR.search(error) is not None or _CONFLICT.search(error) is not None
