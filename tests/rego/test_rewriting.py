"""Policies are rewritten before the engine reads them, so that it decides as OPA does; or they are refused."""

import itertools
import json

import pytest

import wirekey_rego
from tests.rego.answers import document

QUERY = "data.wirekey.authz"
AA = 'package wirekey.authz\ndeny contains "x" if input.model == "nope"\n'
LISTS = 'package wirekey.lists\nblocked := {"m"}\n'
MAIN = 'package wirekey.authz\nimport data.wirekey.lists\ndeny contains "blocked" if input.model in lists.blocked\n'


def rego(*sources, query=QUERY, **files):
    named = {f"m{index}.rego": f"package wirekey.authz\n{source}\n" for index, source in enumerate(sources)}
    named |= {f"{name}.rego": source for name, source in files.items()}
    return wirekey_rego.compile(named, query, ["deny", "allow", "model", "max_tokens"])


@pytest.mark.parametrize("order", [*itertools.permutations([AA, LISTS, MAIN])])
def test_imports_hold_whatever_other_files_the_package_has(order):
    policy = rego(**dict(zip("abc", order, strict=True)))
    assert document(policy, {"model": "m"}) == {"deny": ["blocked"]}
    assert document(policy, {"model": "nope"}) == {"deny": ["x"]}


def test_one_alias_can_mean_something_else_in_each_file():
    one = 'package wirekey.authz\nimport data.one as list\ndeny contains "one" if input.model in list.models\n'
    two = 'package wirekey.authz\nimport data.two as list\ndeny contains "two" if input.model in list.models\n'
    lists = {name: f'package {name}\nmodels := {{"{name}"}}\n' for name in ("one", "two")}
    policy = rego(a=one, b=two, **lists)
    assert [document(policy, {"model": name})["deny"] for name in ("one", "two", "m")] == [["one"], ["two"], []]


def test_an_import_hides_the_rule_of_its_name_in_its_file_only():
    importing = "package wirekey.authz\nimport input.model\ndeny contains model if true\n"
    policy = rego(a=importing, b='package wirekey.authz\nmodel := "b"\ndeny contains [model] if true\n')
    assert document(policy, {"model": "a"}) == {"deny": ["a", ["b"]], "model": "b"}


@pytest.mark.parametrize("count", [1, 8, 9])
def test_a_rule_of_constant_strings_can_be_an_argument_whatever_its_length(count):
    prefixes = "names := " + json.dumps([f"m{number}." for number in range(count)]).replace("[", "{").replace("]", "}")
    policy = rego(
        prefixes,
        'deny contains "yes" if strings.any_prefix_match(input.model, names)',
        'deny contains "no" if not strings.any_prefix_match(input.model, names)',
        'deny contains "replaced" if strings.any_prefix_match("x", data.other.names)',
        other='package other\nnames := {"x"}\n',
    )
    assert document(policy, {"model": f"m{count - 1}.x"})["deny"] == ["replaced", "yes"]
    assert document(policy, {"model": "other"})["deny"] == ["no", "replaced"]
    assert document(policy, {})["deny"] == ["replaced"]


def test_a_rule_of_constant_strings_that_is_replaced_is_read_where_it_is_used():
    policy = rego(
        'names := {"a"}',
        "known if strings.any_prefix_match(input.model, names)",
        'deny contains "a" if known',
        'deny contains "b" if known with data.wirekey.authz.names as {"b"}',
    )
    assert [document(policy, {"model": name})["deny"] for name in "abc"] == [["a"], ["b"], []]


NEGATIONS = [
    # a negation, whether it holds without a model, and whether it holds with model "x"
    ('not startswith(input.model, "x")', False, False),
    ('not startswith(input.model, "y")', False, True),
    ('not startswith(lower(input.model), "y")', False, True),
    ('not input.model in {"y"}', False, True),
    ('not "x" in {input.model}', False, False),
    ("not count(input.model) > 5", False, True),
    ('not input.model != "x"', False, True),
    ('not helper(input.model)\n}\nhelper(m) if {\n\tm == "y"', False, True),
    ('not [input.model] == ["y"]', False, True),
    ('not {"y": 1}[input.model]', False, True),
    ('not input.model == "y"', True, True),
    ("not input.model", True, False),
    ("not input.model.name", True, True),
    ('not "y" == split(input.model, "-")[0]', False, True),
]


@pytest.mark.parametrize(("negation", "absent", "present"), NEGATIONS)
def test_operands_are_taken_out_of_negations(negation, absent, present):
    policy = rego(f"deny contains 1 if {{\n\t{negation}\n}}")
    assert document(policy, {}) == {"deny": [1] * absent}
    assert document(policy, {"model": "x"}) == {"deny": [1] * present}


TAKEN_APART = [
    '{"k": x} = input.o; x == 1',
    '{"k": x} := input.o; x == 1',
    'some {"k": x} in [input.o]; x == 1',
    'f(input.o)\n}\nf({"k": x}) if {\n\tx == 1',
    'f(input.o)\n}\nf({"k": 1}) if {\n\ttrue',
]


@pytest.mark.parametrize("body", TAKEN_APART)
def test_an_object_is_taken_apart_by_all_its_keys_only(body):
    policy = rego(f"deny contains 1 if {{\n\t{body}\n}}")
    held = [document(policy, {"o": given})["deny"] == [1] for given in ({"k": 1}, {"k": 1, "l": 2}, {"k": 2}, {}, [1])]
    assert held == [True, False, False, False, False]


def test_with_also_holds_for_what_is_taken_out_of_a_negation():
    policy = rego('deny if not startswith(input.model, "x") with input.model as "y"')
    assert document(policy, {})["deny"] is True


def test_loops_over_other_values_than_collections_are_empty():
    policy = rego("deny contains x if some x in input.tools\nmodel := [k | some k, _ in input.tools]")
    for tools in (None, 1, "text", True, {}):
        assert document(policy, {"tools": tools}) == {"deny": [], "model": []}
    assert document(policy, {}) == {"deny": [], "model": []}


EVERY = [
    ('every v in input.tools { not names[v] }\n}\nnames := {"a": 1} if {\n\ttrue', [True, False, True]),
    ('every v in input.tools { v in names }\n}\nnames := {"a"} if {\n\ttrue', [True, True, False]),
    ('every v in input.tools { not v in names }\n}\nnames := {"a"}\nother if {\n\ttrue', [True, False, True]),
    ('m := "a"\n\tn := m\n\tevery v in input.tools { v in [n] }', [True, True, False]),
]


@pytest.mark.parametrize(("body", "holds"), EVERY)
def test_every_decides_as_in_opa(body, holds):
    policy = rego(f"deny contains 1 if {{\n\t{body}\n}}")
    assert [document(policy, {"tools": tools})["deny"] == [1] for tools in ([], ["a"], ["b"])] == holds


REFUSED = [
    ("deny if not input.tools[_] == 1", r"m0\.rego:2:13: var _ is unsafe"),
    ("deny if not x == 1", r"m0\.rego:2:13: var x is unsafe"),
    ('blocked := {"m"}\ndeny if y in blocked', r"m0\.rego:3:\d+: .*y.* unsafe"),
    ("deny if input.model == y", r"m0\.rego:2:\d+: .*y.* unsafe"),
    ("deny if data.wirekey.authz[input.model]", r"m0\.rego:2:9: data.wirekey.authz is a package"),
    ("deny if count(data.wirekey) > 1", r"m0\.rego:2:15: data.wirekey is a package"),
    ("deny if { some k, v in input.headers; v == 1 }", r"m0\.rego:2:16: declared var k is unused"),
    ('deny if { x := input.model; x in [x, "y"] }', "the value is an element of the array it is looked up in"),
    ("a.b.c := 1", r"m0\.rego:2:1: a rule's name has several parts"),
    ('deny if upper(input.model) == "X"', r"m0\.rego:2:9: upper may give a different result .* lower"),
    (r'deny if regex.match("\\pL", input.model)', r"m0\.rego:2:9: .*\\p"),
    ("deny if input.max_tokens * 0.3 > 1", r"m0\.rego:2:\d+: fractions are rounded"),
    ("deny if input.max_tokens / input.tool_count > 1", r"m0\.rego:2:\d+: a division by a computed number"),
    ('deny if sprintf("%x", [1]) == "1"', r"m0\.rego:2:9: sprintf with %x"),
    ("deny if startswith(input.model)", r"m0\.rego:2:9: startswith takes 2 arguments, not 1"),
    ("f(x) if x == 1\ndeny if f(1, 2)", r"m0\.rego:3:9: f takes 1 arguments, not 2"),
    ('deny if true\ndeny contains "x" if true', r"m0\.rego:3:1: the rule deny is defined differently at m0.rego:2"),
    ("default deny := false\ndefault deny := true", r"m0\.rego:3:1: the rule deny has two defaults"),
    ("deny if a\na if b\nb if a", r"m0\.rego:3:1: the rule a calls itself"),
    ("deny if { y == 1; y := 1 }", r"m0\.rego:2:\d+: var y is used above"),
    ('s := {{"k": 1}}\ndeny if s[{"k": x}]', r"m0\.rego:3:11: an object with variables is not supported here"),
    ("deny if { some i; not input.tools[i] }", r"m0\.rego:2:23: var i is unsafe"),
    ('deny if input.tools < {"a"}', r"m0\.rego:2:\d+: sets and objects have a different order"),
    ('deny contains x if some x in {{"a"}, {"a": 1}}', r"m0\.rego:2:\d+: sets and objects have a different order"),
    (
        'model := strings.replace_n({"a": "b", "b": "c"}, "ab")',
        r"m0\.rego:2:10: strings.replace_n replaces in a different",
    ),
    ("import future.keywords.not\ndeny if true", r"m0\.rego:2:8: the keyword future.keywords.not is not supported"),
    ("import future.keywords\ndeny if not input.model", r"m0\.rego:2:8: importing all keywords"),
    ("deny if true with data.wirekey as {}", r"m0\.rego:2:\d+: `with` cannot replace the package"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_constructs_that_differ_from_opa_are_refused_with_their_position(text, message):
    with pytest.raises(wirekey_rego.CompileError, match=message):
        rego(text)


def test_an_error_at_evaluation_has_the_position_in_the_operators_file():
    policy = rego("deny if false", 'deny if {\n\tnot startswith(\n\t\tinput.model, "x")\n}')
    with pytest.raises(wirekey_rego.EvaluationError, match=r"m1\.rego:[345]:\d+: `startswith` expects string"):
        policy.evaluate(b'{"model": 1}')
