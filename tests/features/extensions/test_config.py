"""Functions that the configuration names are imported when it is checked."""

import pytest

from tests.support.configuration import loaded
from wirekey.config import ConfigError, function_problems


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (None, "there is no Python module my_route_auth_0"),
        ("x = 1", "has no function provider"),
        ("provider = 1", "has no function provider"),
        ("import no_such_package_of_anyone", "there is no Python module no_such_package_of_anyone"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("def provider(call, head): return {}", None),
    ],
)
def test_a_function_that_a_route_names_is_imported_when_the_configuration_is_checked(tmp_path, module, words, request):
    name = f"my_route_auth_{abs(hash(module)) if module else 0}"
    if module:
        (tmp_path / f"{name}.py").write_text(module)
    text = f"routes: [{{match: a, upstream_url: 'https://x.example', auth: 'python:{name}:provider'}}]"
    found = function_problems(loaded(tmp_path, text))
    assert [problem.key for problem in found] == (["routes[0].auth"] if words else [])
    assert not words or words in found[0].message


def test_the_function_that_checks_keys_is_imported_when_the_configuration_is_checked(tmp_path):
    (tmp_path / "my_key_check.py").write_text("def agent(key, place): return None")
    assert function_problems(loaded(tmp_path, "identity: {check: 'python:my_key_check:agent'}")) == []
    (problem,) = function_problems(loaded(tmp_path, "identity: {check: 'python:my_key_check:agents'}"))
    assert (problem.key, problem.line) == ("identity.check", 1)
    assert "has no function agents" in problem.message
    with pytest.raises(ConfigError, match="python:MODULE:FUNCTION"):
        loaded(tmp_path, "identity: {check: my_key_check}")
