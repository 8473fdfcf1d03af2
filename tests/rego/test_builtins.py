"""Each builtin that policies may use gives what OPA's gives, over values of all kinds, or fails, or is refused.

The engines get the same policies: one rule for each call. A value from the input has no constant for OPA's compiler to
check. Builtins that take constants only get texts that stand in the policy.
"""

import itertools
import json

import pytest

import wirekey_rego
from tests.rego.answers import answer_of
from tests.rego.cases.outcomes import canonical
from tests.rego.oracle import Asked
from wirekey_rego.builtins import ARITIES

TEXTS = ["", "a", "A.b", "aba", "héllo", " 1 ", "12", "1.5", "10.0.0.7", "2026-11-22T10:00:00Z", "YWI=", "6162", "ß İΣ"]
NUMBERS = [0, 1, -2, 3, 2.5, 60]
COLLECTIONS = [
    [],
    ["a", "b"],
    [3, 1, 2],
    ["b", 1, None],
    {},
    {"a": 1},
    {"a": {"b": [1]}, "c": "x"},
    [["a"], ["b"]],
    [{}],
]
VALUES = [None, True, False, *NUMBERS, *TEXTS, *COLLECTIONS]
FEW = [None, True, 1, 2.5, "", "a", "A.b", "héllo", ["a", "b"], [3, 1], {"a": 1}, {"a": {"b": [1]}, "c": "x"}]
PLACES = ["input.a", "input.b", "input.c"]
CONSTANTS = {
    "sprintf": ['"%s", [input.a]', '"%v", [input.a]', '"%d", [input.a]', '"%q is 1%%", [input.a]'],
    "net.cidr_contains": ['"10.0.0.0/8", input.a', '"::/8", input.a'],
    "regex.match": [r'"^\\w+$", input.a', '"^[a-z]*$", input.a', '"(?i)A.B", input.a', "input.b, input.a"],
    "substring": ["input.a, 0, 1", "input.a, 1, 2", "input.a, 9, 2"],
    "array.slice": ["input.a, 0, 1", "input.a, 1, 9"],
    "indexof": ['input.a, "a"', 'input.a, "b"'],
    "time.parse_duration_ns": ['"1h30m"', '"0.5s"', '"-2ms"'],
    "glob.match": ['"*", [], input.a', '"a*", [], input.a', '"*.b", ["."], input.a', '"{a,b}*", ["."], input.a'],
    "strings.replace_n": ['{"a": "b"}, input.a', '{"ab": ""}, input.a'],
    "units.parse_bytes": ['"12"', '"1kb"', '"2KiB"', '"3M"', '"4gib"', '"5Tb"', '"6 b"', '"7ki"'],
    "format_int": ["input.a, 2", "input.a, 8", "input.a, 10", "input.a, 16"],
    "union": ['{{input.a}, {1, "a"}}', "{input.a, {1}}"],
    "intersection": ['{{input.a, 2}, {1, 2, "a"}}', "{input.a, {1}}"],
    "time.now_ns": [],
    "walk": ["input.a, [[], v]"],
}
SETS = ["union({{1}, {2}})", "intersection({{1, 2}, {2}})", "count({1, 2})", "max({1, 2})", 'concat(",", {"b", "a"})']


def calls_of(name):
    """Return the arguments of the calls of a builtin."""
    return CONSTANTS.get(name, [", ".join(PLACES[: ARITIES[name]])])


def inputs_of(arguments):
    """Return values for the places that the arguments name."""
    places = [place for place in PLACES if place in arguments]
    values = VALUES if len(places) < 2 else FEW if len(places) > 2 else [*FEW, *TEXTS[6:]]
    if len(places) > 2:
        values = [*values[::2], "a"]
    grid = itertools.product(values, repeat=len(places))
    return [dict(zip("abc", row, strict=False)) for row in grid]


@pytest.mark.parametrize("name", [name for name in sorted(ARITIES) if calls_of(name)])
def test_the_builtin_returns_what_opas_returns(oracle, name):
    found = [differences(oracle, f"{name}({arguments})", inputs_of(arguments)) for arguments in calls_of(name)]
    assert not [row for _, wrong in found for row in wrong]
    assert any(decided for decided, _ in found)


@pytest.mark.parametrize("call", SETS)
def test_builtins_of_sets_return_what_opas_return(oracle, call):
    assert differences(oracle, call, [{}]) == (1, [])


def differences(oracle, call, inputs):
    """Return how many calls the embedded engine decides, and those that it decides otherwise than OPA.

    Where only the embedded engine fails, the call is denied: that is no other value.
    """
    source = {"a.rego": f"package p\n\nmodel := [x | x := {call}]\n"}
    if call.startswith("walk"):
        source = {"a.rego": f"package p\n\nmodel := [v | {call}]\n"}
    opa = oracle.ask(Asked(source, "data.p", inputs, names=("model",)))
    assert opa.problem is None, opa.problem
    try:
        policy = wirekey_rego.compile(source, "data.p", ["model"])
    except wirekey_rego.CompileError:
        return 0, []
    decided, found = 0, []
    for given, theirs in zip(inputs, opa.answers, strict=True):
        answer = answer_of(policy, given)
        mine = None if answer.error is not None else canonical(answer.value)
        expected = None if theirs.error is not None else canonical(theirs.value)
        decided += mine not in (None, '{"model":[]}')
        if mine is not None and mine != expected:
            found.append(f"{call} with {json.dumps(given)}: OPA {expected or theirs.error}, Wirekey {mine}")
    return decided, found
