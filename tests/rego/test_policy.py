"""The names that the front end exports: what `compile` takes, and what a compiled policy returns."""

import re
import sys
from pathlib import Path

import pytest

import wirekey_rego
from tests.rego.answers import document

README = Path(wirekey_rego.__file__).parent / "README.md"


def compiled(*rules, query="data.p", names=("deny",), data=None, **files):
    modules = {f"{name}.rego": text for name, text in files.items()}
    return wirekey_rego.compile(modules | {"a.rego": "\n".join(["package p", *rules])}, query, names, data)


def test_a_policy_returns_the_rules_that_are_asked_for():
    policy = compiled("x := input.n", "y := data.z", "z := 3", names=["x", "y", "nothing"], data={"z": [1]})
    assert document(policy, {"n": 2}) == {"x": 2, "y": [1]}
    assert document(policy, {}) == {"y": [1]}


@pytest.mark.parametrize("query", ["", "data", "data.", "p", "input.p", "data.p; true", "data.p[_]"])
def test_a_query_that_is_no_path_is_a_mistake_of_the_caller(query):
    assert not wirekey_rego.is_package_path(query)
    with pytest.raises(ValueError, match="is not a package path"):
        compiled("deny := true", query=query)


def test_a_package_that_there_is_not_is_a_problem_with_those_that_there_are():
    with pytest.raises(wirekey_rego.CompileError) as raised:
        compiled("deny := true", query="data.q", b="package b\n")
    (problem,) = raised.value.problems
    assert (problem.query, problem.packages) == ("data.q", ("data.b", "data.p"))
    assert str(problem) == "policy: there is no package data.q. The packages are data.b, data.p"


def test_data_must_not_hide_a_rule():
    with pytest.raises(wirekey_rego.CompileError, match=r"a\.rego:2: data\.p\.deny is also set by a data file"):
        compiled("deny := true", data={"p": {"deny": False}})


def test_each_definition_has_a_value_of_its_own():
    policy = compiled("default deny := false", "deny if input.a", "", "deny if startswith(input.b, 1)")
    values = policy.evaluate_definitions("deny", b'{"a": true, "b": 2}')
    assert [(each.place.file, each.place.line, each.is_default, each.value) for each in values] == [
        ("a.rego", 2, True, False),
        ("a.rego", 3, False, True),
        ("a.rego", 5, False, None),
    ]
    assert policy.evaluate_definitions("nothing", b"{}") == []


def test_an_input_that_is_no_json_has_no_result():
    policy = compiled("deny := true")
    for evaluate in (policy.evaluate, lambda given: policy.evaluate_definitions("deny", given)):
        with pytest.raises(wirekey_rego.EvaluationError):
            evaluate(b"{")


@pytest.mark.parametrize(
    ("rule", "linear", "with_short_array"),
    [
        ('deny if input.model == "a"', True, True),
        ('deny if { some t in input.few; t == "a" }', False, True),
        ("deny if { some t in input.few; some u in input.few; t == u }", False, False),
        ('deny if { some t in input.many; t == "a" }', False, False),
        ("deny if input.few[_] == 1", False, False),
    ],
)
def test_one_loop_over_a_short_array_counts_as_linear(rule, linear, with_short_array):
    syntax = compiled(rule).syntax
    assert syntax.runs_in_linear_time() is linear
    assert syntax.runs_in_linear_time(("input", "few")) is with_short_array


def test_packages_that_nothing_mentions_are_unused():
    syntax = compiled("deny if data.used.x", used="package used\nx := 1", b="package b", c="package c\ny := 1").syntax
    assert syntax.unused_packages("data.p") == {"data.b": "b.rego", "data.c": "c.rego"}


def test_the_examples_of_the_readme_run(capsys):
    shared = {}
    for code in re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL):
        exec(code, shared)
    printed = re.findall(r"^```text\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert capsys.readouterr().out == "".join(printed)


def test_the_front_end_needs_nothing_of_wirekey():
    source = "\n".join(path.read_text() for path in README.parent.glob("*.py"))
    imported = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE))
    assert imported - sys.stdlib_module_names == {"msgspec", "regorus", "wirekey_rego"}
