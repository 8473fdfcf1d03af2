"""Conflicting routes are refused. `config check` reports routes without effect."""

from fnmatch import fnmatchcase
from itertools import product

import pytest

from tests.support.configuration import loaded, problems
from wirekey.config import route_warnings
from wirekey.config.route_checks import covers

KEYED = "providers: {openai: {keys: [env:A]}, gemini: {keys: [env:A]}}\n"


@pytest.mark.parametrize(
    ("route", "key", "words"),
    [
        ("{match: a, keys: [env:A]}", "routes[0]", "keys need provider or upstream_url"),
        ("{match: a, upstream_url: https://x.example, auth: bearer}", "routes[0]", "needs keys"),
        ("{match: a, upstream_url: https://x.example, auth: sigv4, keys: [env:A]}", "routes[0]", "never used"),
        ("{match: a, upstream_url: https://x.example, auth: 'python:m:f', keys: [env:A]}", "routes[0]", "never used"),
        ("{match: a, auth: none}", "routes[0]", "auth: none needs upstream_url"),
        ("{match: a, selection: random}", "routes[0]", "selection needs keys in this route"),
        ("{match: a, provider: openai, model: 'gemini:x'}", "routes[0]", "model names gemini"),
        ("{match: a, timeout: 1}", "routes[0].timeout", "Did you mean timeouts?"),
        ("{match: a, fallback: [a]}", "routes[0]", "falls back to a, the model that has just failed"),
        ("{match: a, model: b, fallback: [c, b]}", "routes[0]", "falls back to b"),
        ("{match: a, model: 'm?temperature=9'}", "routes[0].model", "must be a number from 0 to 2"),
        ("{match: a, fallback: ['m?tools=x']}", "routes[0].fallback[0]", "has a parameter 'tools'"),
        ("{match: a, failover: {max_attempts: 0}}", "routes[0].failover.max_attempts", "must be at least 1"),
        ("{match: a, failover: {max_attempts: 21}}", "routes[0].failover.max_attempts", "at most 20"),
        ("{match: a, provider: openai, auth: sigv4}", "routes[0].auth", "openai does not accept it"),
        ("{match: a, provider: openai, fallback: ['anthropic:c']}", "routes[0].fallback[0]", "goes to anthropic"),
    ],
)
def test_a_route_that_no_call_can_use_is_refused(tmp_path, route, key, words):
    found = problems(tmp_path, f"{KEYED}routes:\n  - {route}", {"A": "k"})
    assert [(problem.key, problem.line) for problem in found] == [(key, 3)]
    assert words in found[0].message


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("model_override: 'gemini:x'", "", "model_override applies to calls of every provider"),
        ("session_affinity: {header: Authorization}", "session_affinity.header", "a header with credentials"),
        ("session_affinity: {header: 'a b'}", "session_affinity.header", "name of a header"),
        ("providers: {openai: {selection: best}}", "providers.openai.selection", "must be 'round-robin'"),
        (
            "providers: {bedrock: {aws: {bearer: env:A}}}\nroutes: [{match: a, auth: sigv4}]",
            "routes[0].auth",
            "needs AWS credentials",
        ),
        (
            "routes: [{match: a, provider: openai, fallback: [b]}, {match: b, provider: anthropic}]",
            "routes[0].fallback[0]",
            "falls back to b, which goes to anthropic",
        ),
    ],
)
def test_settings_around_routes_are_checked_too(tmp_path, text, key, words):
    (problem,) = problems(tmp_path, text, {"A": "k"})
    assert problem.key == key
    assert words.replace("'", "") in problem.message


FAULTS = [
    ("[{match: a}, {match: b}]", []),
    ("[{match: a}, {match: a}]", [("routes[1].match", 3, "can never match: routes[0] in line 2 (a) comes first")]),
    ("[{match: 'gpt-*'}, {match: 'gpt-4*'}]", [("routes[1].match", 3, "can never match")]),
    ("[{match: '*'}, {match: 'x?'}]", [("routes[1].match", 3, "can never match")]),
    ("[{match: 'gpt-4*'}, {match: 'gpt-*'}]", []),
    ("[{match: '[ab]'}, {match: a}]", [("routes[1].match", 3, "can never match")]),
    ("[{match: a, provider: anthropic}, {match: b}]", [("routes[0]", 2, "has no key. Set providers.anthropic.keys")]),
    ("[{match: a, provider: anthropic, keys: [env:A]}, {match: b}]", []),
    ("[{match: a, provider: anthropic, auth: client}, {match: b, provider: bedrock}]", []),
    ("[{match: a, fallback: [b]}, {match: b, fallback: [c]}]", []),
    (
        "[{match: a, fallback: [b]}, {match: b, fallback: [a]}]",
        [("routes[0].fallback", 2, "forms a loop (a → b → a)"), ("routes[1].fallback", 3, "forms a loop (b → a → b)")],
    ),
    ("[{match: 'g-*', fallback: [g-1]}, {match: b}]", []),
    ("[{match: a, fallback: ['gemini:g']}, {match: 'g', fallback: [x]}]", []),
]


@pytest.mark.parametrize(("routes", "expected"), FAULTS)
def test_routes_that_do_nothing_are_found_with_their_lines(tmp_path, routes, expected):
    lines = routes.strip("[]").replace("}, {", "}\n  - {") if "[{match: '[ab]'" not in routes else None
    text = "routes:\n  - " + lines if lines else "routes:\n  - {match: '[ab]'}\n  - {match: a}"
    lines_of_keys = loaded(tmp_path, f"{text}\nproviders: {{openai: {{keys: [env:A]}}}}", {"A": "k"})
    found = route_warnings(lines_of_keys)
    assert [(fault.key, fault.line) for fault in found] == [(key, line) for key, line, _ in expected]
    for fault, (_, _, words) in zip(found, expected, strict=True):
        assert words in fault.message


def test_a_pattern_covers_another_only_if_every_matching_name_does():
    patterns = ["".join(parts) for count in (1, 2, 3) for parts in product("ab*?", repeat=count)] + ["[ab]", "a[ab]*"]
    names = ["".join(parts) for count in range(5) for parts in product("ab", repeat=count)] + ["c", "ac", "abc"]
    fits = {pattern: {name for name in names if fnmatchcase(name, pattern)} for pattern in patterns}
    for earlier, later in product(patterns, repeat=2):
        if covers(earlier, later):
            assert fits[later] <= fits[earlier], (earlier, later)
    assert covers("gpt-*", "gpt-4o*")
    assert covers("gpt-*", "gpt-4[ab]") is False
