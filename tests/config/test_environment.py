"""Settings from the environment: which there are, what they mean, and what is reported."""

import pytest

from tests.support.configuration import loaded, problems
from wirekey.config.addresses import HostPort
from wirekey.config.effective import effective_settings

SET = [
    ("WIREKEY_LISTEN__GATEWAY", "0.0.0.0:8000", lambda config: config.listen.gateway, HostPort("0.0.0.0", 8000)),
    ("WIREKEY_LISTEN__CONSOLE", "null", lambda config: config.listen.console, None),
    ("WIREKEY_IDENTITY__REQUIRED", "false", lambda config: config.identity.required, False),
    ("WIREKEY_LIMITS__BODY_BYTES", "1MiB", lambda config: config.limits.body_bytes, 1024 * 1024),
    ("WIREKEY_LIMITS__HEADERS", "7", lambda config: config.limits.headers, 7),
    ("WIREKEY_TIMEOUTS__FIRST_BYTE", "1.5", lambda config: config.timeouts.first_byte, 1.5),
    ("WIREKEY_MODEL_OVERRIDE", "gpt-4o-mini", lambda config: config.model_override, "gpt-4o-mini"),
    ("WIREKEY_PROVIDERS__OPENAI__SELECTION", "random", lambda config: config.providers.openai.selection, "random"),
    ("WIREKEY_PROVIDERS__BEDROCK__AWS__PROFILE", "corp", lambda config: config.providers.bedrock.aws.profile, "corp"),
    ("WIREKEY_LOG__LEVEL", "WARNING", lambda config: config.log.level, "warning"),
    ("WIREKEY_POLICY__QUERY", "data.corp", lambda config: config.policy.query, "data.corp"),
]


@pytest.mark.parametrize(("variable", "text", "read", "value"), SET, ids=[row[0] for row in SET])
def test_a_variable_sets_a_setting(tmp_path, variable, text, read, value):
    assert read(loaded(tmp_path, "", {variable: text})) == value


def test_the_environment_takes_precedence_over_the_file(tmp_path):
    text = "listen: {forward: 127.0.0.1:1, gateway: 127.0.0.1:2}\n"
    config = loaded(tmp_path, text, {"WIREKEY_LISTEN__GATEWAY": "127.0.0.1:3"})
    assert (config.listen.forward.port, config.listen.gateway.port) == (1, 3)
    sources = {setting.key: setting.source for setting in effective_settings(config)}
    assert sources["listen.gateway"] == "env WIREKEY_LISTEN__GATEWAY"
    assert sources["listen.forward"].endswith(":1")


def test_a_variable_in_dotenv_counts_too(tmp_path):
    (tmp_path / ".env").write_text("export WIREKEY_LOG__LEVEL=debug\n")
    assert loaded(tmp_path, "").log.level == "debug"


def values_of(config):
    return config.model_dump(warnings=False)


@pytest.mark.parametrize("variable", ["WIREKEY_PYTHON", "WIREKEY_COMPLETE", "WIREKEY_", "OTHER_LISTEN__GATEWAY"])
def test_a_variable_of_another_program_is_ignored(tmp_path, variable):
    assert values_of(loaded(tmp_path, "", {variable: "x"})) == values_of(loaded(tmp_path, ""))


def test_an_empty_variable_is_ignored(tmp_path):
    found = loaded(tmp_path, "", {"WIREKEY_LISTEN__GATEWAY": " "})
    assert values_of(found) == values_of(loaded(tmp_path, ""))


WRONG = [
    ("WIREKEY_LISTEN__GATEWY", "x", "Did you mean gateway"),
    ("WIREKEY_LISTN__GATEWAY", "x", "is not a setting"),
    ("WIREKEY_LISTEN", "x", "is a group of settings"),
    ("WIREKEY_ROUTES", "x", "is a list"),
    ("WIREKEY_PROVIDERS__OPENAI__KEYS", "env:A", "is a list"),
    ("WIREKEY_LISTEN__GATEWAY", "nowhere", "must be HOST:PORT"),
    ("WIREKEY_LOG__LEVEL", "loud", "must be debug"),
    ("WIREKEY_PROVIDERS__BEDROCK__AWS__BEARER", "sk-4f1c9e0a7b3d5e2f8a6c1b0d", "looks like a secret"),
]


@pytest.mark.parametrize(("variable", "text", "message"), WRONG)
def test_a_wrong_variable_is_reported_by_its_name_and_without_its_value(tmp_path, variable, text, message):
    (found,) = problems(tmp_path, "", {variable: text})
    assert variable in str(found)
    assert message in found.message
    assert "4f1c9e" not in str(found)


def test_a_group_that_the_file_has_as_a_single_value_is_reported_as_before(tmp_path):
    (found,) = problems(tmp_path, "listen: 5\n", {"WIREKEY_LISTEN__GATEWAY": "127.0.0.1:3"})
    assert found.key == "listen"


@pytest.mark.parametrize("level", ["DEBUG", "Info", "warning", "ERROR", "CRITICAL"])
def test_log_levels_may_be_in_any_case(tmp_path, level):
    assert loaded(tmp_path, f"log: {{level: {level}}}\n").log.level == level.lower()


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("one", ["one"]),
        ("one,two", ["one", "two"]),
        (" one , two,, three,", ["one", "two", "three"]),
    ],
)
def test_one_variable_may_have_several_keys(tmp_path, value, keys):
    text = """
providers: {gemini: {keys: [env:GEMINI_KEYS, env:LAST]}}
routes: [{match: x, provider: gemini, keys: [env:GEMINI_KEYS]}]
"""
    config = loaded(tmp_path, text, {"GEMINI_KEYS": value, "LAST": "last"})
    found = [*keys, "last"]
    labels = [f"gemini/{place}" for place in range(1, len(found) + 1)]
    assert [(label, key.reveal()) for label, key in config.resolve_keys("gemini")] == list(
        zip(labels, found, strict=True)
    )
    assert [key.reveal() for _, key in config.resolve_route_keys(0)] == keys


def test_the_usual_variable_of_a_provider_may_have_several_keys(tmp_path):
    config = loaded(tmp_path, "", {"OPENAI_API_KEY": "one,two"})
    assert [key.reveal() for _, key in config.resolve_keys("openai")] == ["one", "two"]


def test_a_key_in_a_file_is_one_key(tmp_path):
    (tmp_path / "key").write_text("one,two\n")
    config = loaded(tmp_path, "providers: {openai: {keys: [file:key]}}")
    assert [key.reveal() for _, key in config.resolve_keys("openai")] == ["one,two"]
