"""The settings come from the file, .env and the environment."""

from pathlib import Path

import pytest

from tests.support.configuration import LITERAL_KEY, loaded, problems
from wirekey.cli.environment import PLACEHOLDER
from wirekey.config import ConfigError, HostPort, SecretRef, load, loading, provider_hosts, secret_problems, usual_hosts
from wirekey.config.effective import effective_settings

EVERYTHING = """
listen: {forward: "[::1]:0", gateway: localhost:8000, console: null}
state: /var/lib/wirekey
certs: ./authority
egress: {other_hosts: deny}
providers:
  openai: {keys: [env:ONE, file:two.txt], upstream_url: https://llm.corp.example:8443, key_source: inject}
  gemini: {key_source: passthrough}
  anthropic: {keys: [keyring:wirekey/anthropic]}
  bedrock: {aws: {bearer: env:B}, regions: [eu-west-1, us-gov-west-1]}
model_override: gpt-4o-mini
routes:
  - {match: "gpt-4*", model: gpt-4o-mini}
  - {match: "corp-*", upstream_url: https://llm.corp.example, auth: bearer, keys: [file:/run/secrets/corp],
     timeouts: {first_byte: 600}}
  - {match: "special-*", upstream_url: https://x.example, auth: client, include_stream_usage: false}
identity: {required: false}
policy: {path: policies/}
audit: {store: env:AUDIT_DATABASE, durability: fsync}
metering: {include_stream_usage: false}
timeouts: {connect: 1, first_byte: 2.5, idle: 3}
limits: {body_bytes: 1MiB, header_bytes: 32000, headers: 10, connections_per_client: 4}
log: {format: json, level: debug, file: logs/wirekey.core.observing.log}
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_setting_can_be_set(tmp_path):
    config = loaded(tmp_path, EVERYTHING)
    assert config.listen.forward == HostPort("::1", 0)
    assert str(config.listen.forward) == "[::1]:0"
    assert config.listen.console is None
    assert config.egress.other_hosts == "deny"
    assert str(config.providers.openai.upstream_url) == "https://llm.corp.example:8443"
    assert config.providers.openai.keys == (SecretRef("env", "ONE"), SecretRef("file", "two.txt"))
    assert config.routes[1].timeouts.first_byte == 600
    assert config.routes[2].include_stream_usage is False
    assert str(config.audit.store) == "env:AUDIT_DATABASE"
    assert (config.timeouts.first_byte, config.limits.body_bytes, config.limits.header_bytes) == (2.5, 1 << 20, 32000)
    assert config.log.level == "debug"


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    config = loaded(inner, EVERYTHING)
    assert config.state == Path("/var/lib/wirekey")
    assert config.certs.folder == inner / "authority"
    assert config.log.file == inner / "logs/wirekey.core.observing.log"
    assert config.policy.path == inner / "policies"


def test_without_a_file_the_defaults_are_used(tmp_path):
    config = load(None, {})
    assert not config.has_file
    assert not config.has_any_key
    assert config.source is None
    assert config.state == tmp_path / "state"
    assert config.providers.bedrock.regions == ("us-east-1",)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff# with a byte order mark", "{}"])
def test_an_empty_file_has_the_defaults(tmp_path, text):
    config = loaded(tmp_path, text)
    assert config.has_file
    assert not config.has_any_key
    assert [row.value for row in effective_settings(config)] == [
        row.value for row in effective_settings(load(None, {}))
    ]


def test_wirekey_yaml_of_the_current_folder_is_found(tmp_path):
    loaded(tmp_path, "model_override: m")
    assert load(None, {}).model_override == "m"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b"state: \xff"), "UTF-8"),
        (lambda path: path.write_bytes(b"#" * (1 << 20) + b"\n"), "larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path, make, words):
    path = tmp_path / "other.yaml"
    make(path)
    with pytest.raises(ConfigError, match=words):
        load(path, {})


@pytest.mark.parametrize(
    ("environ", "keys"),
    [
        ({}, {}),
        ({"OPENAI_API_KEY": "a"}, {"openai": [("openai/1", "a")]}),
        ({"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}, {"gemini": [("gemini/1", "a")]}),
        ({"GOOGLE_API_KEY": "b"}, {"gemini": [("gemini/1", "b")]}),
        ({"ANTHROPIC_API_KEY": "a"}, {"anthropic": [("anthropic/1", "a")]}),
        ({"AWS_BEARER_TOKEN_BEDROCK": "a"}, {"bedrock": [("bedrock/1", "a")]}),
        ({"OPENAI_API_KEY": " "}, {}),
        ({"OPENAI_API_KEY": PLACEHOLDER}, {}),
    ],
)
def test_keys_that_are_not_configured_come_from_the_usual_variables(environ, keys):
    config = load(None, environ)
    found = {name: config.resolve_keys(name) for name in ("openai", "gemini", "anthropic", "bedrock")}
    assert {name: [(label, key.reveal()) for label, key in pairs] for name, pairs in found.items() if pairs} == keys
    assert config.has_any_key == bool(keys)


def test_the_placeholder_is_the_one_that_clients_are_given():
    assert loading.PLACEHOLDER == PLACEHOLDER


@pytest.mark.parametrize(
    "text",
    [
        "providers: {openai: {keys: []}}",
        "providers: {openai: {key_source: client}}",
        "providers: {openai: {key_source: passthrough}}",
    ],
)
def test_keys_in_the_file_replace_the_usual_variable(tmp_path, text):
    assert loaded(tmp_path, text, {"OPENAI_API_KEY": "a"}).resolve_keys("openai") == []


@pytest.mark.parametrize("text", ["providers: {openai: {upstream_url: https://x.example}}", "providers:\n  openai: {}"])
def test_other_settings_of_a_provider_do_not_replace_the_usual_variable(tmp_path, text):
    assert len(loaded(tmp_path, text, {"OPENAI_API_KEY": "a"}).resolve_keys("openai")) == 1


def test_keys_have_labels_by_their_place(tmp_path):
    config = loaded(tmp_path, "providers: {openai: {keys: [env:A, env:B]}}", {"A": "first", "B": "second"})
    assert [(label, key.reveal()) for label, key in config.resolve_keys("openai")] == [
        ("openai/1", "first"),
        ("openai/2", "second"),
    ]


def test_dotenv_beside_the_file_is_read_and_the_environment_wins(tmp_path):
    (tmp_path / ".env").write_text("A=from-file\nB=from-file\nC=from-file\n")
    config = loaded(tmp_path, "providers: {openai: {keys: [env:A, env:B, env:C]}}", {"B": "from-environ", "C": ""})
    keys = [key.reveal() for _, key in config.resolve_keys("openai")]
    assert keys == ["from-file", "from-environ", "from-file"]


def test_missing_secrets_are_reported_together_with_setting_and_reference(tmp_path):
    config = loaded(tmp_path, "providers:\n  openai:\n    keys:\n      - env:A\n      - file:none\n")
    with pytest.raises(ConfigError) as caught:
        config.resolve_keys("openai")
    assert [(p.line, p.key, p.message.split(": ")[0]) for p in caught.value.problems] == [
        (4, "providers.openai.keys[0]", "env:A"),
        (5, "providers.openai.keys[1]", "file:none"),
    ]
    assert secret_problems(config) == caught.value.problems


def test_the_check_reads_all_references(tmp_path):
    keys = [problem.key for problem in secret_problems(loaded(tmp_path, EVERYTHING))]
    assert keys == [
        "providers.openai.keys[0]",
        "providers.openai.keys[1]",
        "providers.anthropic.keys[0]",
        "providers.bedrock.aws.bearer",
        "routes[1].keys[0]",
        "audit.store",
    ]


def test_the_hosts_are_the_providers_own_with_bedrock_in_each_region(tmp_path):
    config = loaded(tmp_path, EVERYTHING)
    assert usual_hosts(config) == {
        "api.openai.com": "openai",
        "generativelanguage.googleapis.com": "gemini",
        "api.anthropic.com": "anthropic",
        "bedrock-runtime.eu-west-1.amazonaws.com": "bedrock",
        "bedrock-runtime.us-gov-west-1.amazonaws.com": "bedrock",
        "api.mistral.ai": "mistral",
    }
    assert usual_hosts(config).items() < provider_hosts(config).items()
    assert len(provider_hosts(config)) == 4 + 2 * 12


def test_the_configuration_shows_neither_keys_nor_the_environment(tmp_path):
    (tmp_path / ".env").write_text(f"A={LITERAL_KEY}\n")
    config = loaded(tmp_path, "providers: {openai: {keys: [env:A]}}", {"OTHER": LITERAL_KEY})
    shown = f"{config!r} {config} {config._sources!r} {effective_settings(config)}"
    assert LITERAL_KEY not in shown


def test_a_configuration_cannot_be_changed(tmp_path):
    config = loaded(tmp_path, "")
    with pytest.raises(ValueError, match="frozen"):
        config.log.level = "debug"


@pytest.mark.parametrize("name", ["wirekey.yaml", ".env", "key.txt"])
@pytest.mark.parametrize("change", ["written", "replaced", "removed", "made"])
def test_the_fingerprint_changes_with_each_file_that_was_read(tmp_path, name, change):
    text = "providers: {openai: {keys: [file:key.txt]}}"
    path = tmp_path / name
    (tmp_path / "key.txt").write_text("k1")
    (tmp_path / ".env").write_text("A=1")
    config = loaded(tmp_path, text)
    if change == "made":
        path.unlink()
    before = config.fingerprint()
    assert config.fingerprint() == before
    if change == "removed":
        path.unlink()
    elif change == "replaced":
        (tmp_path / "new").write_text(path.read_text() if path.exists() else "")
        (tmp_path / "new").replace(path)
    else:
        path.write_text(f"{text} # longer")
    assert config.fingerprint() != before


def test_a_new_file_changes_the_fingerprint_of_the_defaults(tmp_path):
    config = load(None, {})
    before = config.fingerprint()
    (tmp_path / "wirekey.yaml").write_text("")
    assert config.fingerprint() != before


def test_each_value_has_its_origin(tmp_path):
    config = loaded(tmp_path, "log:\n  level: debug\n", {"OPENAI_API_KEY": "a"})
    rows = {row.key: (row.value, row.source) for row in effective_settings(config)}
    assert rows["log.level"] == ("debug", "file:2")
    assert rows["log.format"] == (None, "default")
    assert rows["providers.openai.keys"] == (["env:OPENAI_API_KEY"], "env OPENAI_API_KEY")
    assert rows["limits.body_bytes"] == ("64MiB", "default")


def test_broken_dotenv_and_broken_yaml_are_reported_together(tmp_path):
    (tmp_path / ".env").write_text("what is this\n")
    assert {p.file.name for p in problems(tmp_path, "stat: x")} == {".env", "wirekey.yaml"}
