"""Probable mistakes in a policy, and which rules matched."""

import json

import pytest

from tests.support.policies import WHOLE
from wirekey.core.policy.explanation import matching_rules
from wirekey.core.policy.lint import lint
from wirekey.core.policy.modules import Modules, PolicyError, read_modules
from wirekey.core.policy.rego import Rego

QUERY = "data.p.authz"


def modules(*sources):
    return Modules({f"m{i}.rego": f"package p.authz\n{source}\n" for i, source in enumerate(sources)}, {}, "r")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("deny if input.modle", "m0.rego:2:9: there is no input.modle. Did you mean input.model?"),
        ('deny if input["agent_rol"]', "m0.rego:2:9: there is no input.agent_rol. Did you mean input.agent_role?"),
        ("deny if input.agent.rol", "m0.rego:2:9: there is no input.agent.rol. Did you mean input.agent.role?"),
        ("deny if { some m in input.messages; m == 1 }", "m0.rego:2:21: there is no input.messages"),
        (
            'deny if input.headers["user_agent"]',
            'm0.rego:2:9: there is no input.headers["user_agent"]. Did you mean input.headers["user-agent"]?',
        ),
        ("deny if input.headers.authorization", 'there is no input.headers["authorization"]'),
        ("deny if not startswith(input.modell, input.toool[0])", "Did you mean input.tools?"),
        ("import input.agnt as a\ndeny if a", "there is no input.agnt. Did you mean input.agent?"),
        ("deny if time.now_ns() > 5", "Use time.parse_rfc3339_ns(input.time)"),
        *(
            (f"deny if input.{name}", None)
            for name in ("model", "agent.id", "agent.permissions[0]", "tools[0]", 'headers["user-agent"]', "path")
        ),
        ("deny if { some k; input.headers[k]; input[k] }", None),
    ],
)
def test_an_unknown_field_is_reported_with_a_suggestion(text, problem):
    found = [str(each) for each in lint(Rego(modules(text), QUERY).syntax, QUERY)]
    assert any(problem in each for each in found) if problem else not found


def matched(given, *sources):
    found = matching_rules(modules(*sources), QUERY, json.dumps(WHOLE | given).encode())
    return [(voice.rule, voice.file, voice.line, voice.value) for voice in found]


def test_only_the_rules_that_matched_are_listed():
    first = 'deny contains "no o3" if input.model == "o3"\n\n# é\ndeny contains "no tools" if {\n\tinput.has_tools\n}'
    second = 'default allow := false\nallow if input.model == "o3"\nallow if false\nmodel := "x" if input.stream'
    assert matched({"model": "o3"}, first, second) == [
        ("deny", "m0.rego", 2, ["no o3"]),
        ("deny", "m0.rego", 5, ["no tools"]),
        ("allow", "m1.rego", 3, True),
        ("model", "m1.rego", 5, "x"),
    ]
    assert matched({"model": "o5", "has_tools": False, "stream": False}, first, second) == [
        ("allow", "m1.rego", 2, False)
    ]


def test_a_default_is_listed_unless_its_own_rule_matched():
    rules = 'default allow := false\nallow if input.model == "o3"\ndeny contains "no o5" if input.model == "o5"'
    assert matched({"model": "o5"}, rules) == [("deny", "m0.rego", 4, ["no o5"]), ("allow", "m0.rego", 2, False)]
    assert matched({"model": "o3"}, rules) == [("allow", "m0.rego", 3, True)]


def test_rules_on_one_line_are_distinguished():
    rules = 'deny contains "a" if input.model == "x" deny contains "b" if input.model == "y"'
    assert matched({"model": "y"}, rules) == [("deny", "m0.rego", 2, ["b"])]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "does not exist"),
        ({"readme.txt": "x"}, r"has no \*\.rego file"),
        ({"a.rego": b"\xff"}, "not UTF-8"),
        ({"a.rego": "package a", "data.json": "{"}, r"data\.json: is not a JSON document"),
        ({"a.rego": "package a", "data.yaml": "a: [1"}, r"data\.yaml:\d+: is not valid YAML"),
        ({"a.rego": "package a", "data.yaml": "a: 1\na: 2"}, r"data\.yaml:2: is not valid YAML"),
        ({"a.rego": "package a", "data.yaml": "when: 2026-01-31"}, "is not a JSON document"),
        ({"a.rego": "package a", "data.json": "[1]"}, "must be an object"),
        ({"a.rego": "package a", "data.json": '{"x": 1}', "x/data.json": '{"y": 1}'}, "set by another data file"),
        ({"a.rego": "package p.authz\nx := 1", "p/authz/data.json": '{"x": 2}'}, "also set by a data file"),
    ],
)
def test_problems_of_files_have_the_file_name(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PolicyError, match=message):
        Rego(read_modules(tmp_path if files else tmp_path / "none"), QUERY)


def test_hidden_files_and_tests_are_not_served_and_the_revision_is_that_of_the_content(tmp_path):
    (tmp_path / "a.rego").write_text("package a")
    first = read_modules(tmp_path)
    (tmp_path / ".b.rego").write_text("package b")
    (tmp_path / "a_test.rego").write_text("package a_test")
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "c.rego").write_text("package c")
    again = read_modules(tmp_path)
    assert (again.rego, again.data, again.revision) == (first.rego, first.data, first.revision)
    assert again.tests == {"a_test.rego": "package a_test"}
    (tmp_path / "a.rego").write_text("package a\n")
    assert read_modules(tmp_path).revision != first.revision
