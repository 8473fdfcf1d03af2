"""The variables with which `exec --gateway` and `env --gateway` make programs use the gateway."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from wirekey.cli.credential_variables import PLACEHOLDER
from wirekey.cli.environment import BUNDLE_VARIABLES, KEY_VARIABLES, gateway_environment, trusted_copy
from wirekey.cli.exec import gateway_hint, token_for_codex
from wirekey.cli.main import group
from wirekey.core.identity.aws_pairs import KeyPair
from wirekey.core.secret import Secret
from wirekey.server.runtime import RunningProxy

PAIR = KeyPair("WKEY" + "A" * 16, Secret("a" * 40))
BASES = {
    "OPENAI_BASE_URL": "/v1",
    "OPENAI_API_BASE": "/v1",
    "ANTHROPIC_BASE_URL": "",
    "GOOGLE_GEMINI_BASE_URL": "",
    "GEMINI_API_BASE": "/v1beta",
    "ANTHROPIC_BEDROCK_BASE_URL": "/api/v1/bedrock",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "/api/v1/bedrock",
    "AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME": "/api/v1/bedrock",
    "AWS_ENDPOINT_URL_BEDROCK": "/api/v1/bedrock",
}
OF_THE_PROXY = {"HTTPS_PROXY", "https_proxy", "NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS"}


def variables(address="127.0.0.1:8000", **inherited):
    return gateway_environment(address, token="wk_x", region="eu-west-1", pair=PAIR, inherited=inherited)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "[::1]:8000"])
def test_each_sdk_gets_the_base_url_with_its_path(address):
    given = variables(address)
    assert {name: given[name] for name in BASES} == {name: f"http://{address}{path}" for name, path in BASES.items()}


def test_the_agents_token_is_the_key_and_its_key_pair_signs():
    given = variables()
    assert {given[name] for name in KEY_VARIABLES if name != "CODEX_API_KEY"} == {"wk_x"}
    assert (given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"]) == (PAIR.access_key, "a" * 40)
    assert given["AWS_REGION"] == given["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert variables(AWS_REGION="us-west-2")["AWS_REGION"] == "us-west-2"


def test_gemini_cli_is_told_that_it_has_an_api_key():
    settings = json.loads(Path(variables()["GEMINI_CLI_SYSTEM_DEFAULTS_PATH"]).read_text())
    assert settings == {"security": {"auth": {"selectedType": "gemini-api-key"}}}


def test_opencode_is_told_where_google_models_are_unless_it_has_settings_of_its_own():
    assert json.loads(variables()["OPENCODE_CONFIG_CONTENT"]) == {
        "provider": {"google": {"options": {"baseURL": "http://127.0.0.1:8000/v1beta"}}}
    }
    assert "OPENCODE_CONFIG_CONTENT" not in variables(OPENCODE_CONFIG_CONTENT="{}")


@pytest.mark.parametrize(
    ("program", "is_told"),
    [
        (["codex", "exec", "hello"], True),
        (["/opt/bin/codex"], True),
        (["codex", "-c", "openai_base_url=http://127.0.0.1:8000/v1"], False),
        (["claude"], False),
        (["sh", "-c", "codex"], False),
    ],
)
def test_the_user_of_codex_is_told_how_it_uses_the_gateway(program, is_told):
    hint = gateway_hint(program, variables())
    assert ("-c openai_base_url=http://127.0.0.1:8000/v1" in (hint or "")) is is_told


@pytest.mark.parametrize(
    ("program", "key"),
    [
        (["codex", "exec", "hello"], PLACEHOLDER),
        (["codex", "-c", "openai_base_url=http://127.0.0.1:8000/v1", "exec"], "wk_x"),
        (["/opt/bin/codex", "exec", "--config=openai_base_url='http://127.0.0.1:8000/v1/'"], "wk_x"),
        (["codex", "-c", "openai_base_url=https://elsewhere.example/v1"], PLACEHOLDER),
        (["codex", "-c", "openai_base_url=http://127.0.0.1:8000/v1.elsewhere.example"], PLACEHOLDER),
        (["sh", "-c", "codex"], PLACEHOLDER),
    ],
)
def test_codex_gets_the_token_only_if_it_calls_the_gateway(program, key):
    """It sends its key to chatgpt.com, too, unless it has another base URL."""
    given = variables()
    assert (given | token_for_codex(program, given))["CODEX_API_KEY"] == key


def test_no_proxy_and_no_ca_is_set():
    assert not variables().keys() & {*OF_THE_PROXY, *BUNDLE_VARIABLES}


@pytest.mark.parametrize(
    ("address", "inherited", "never"),
    [
        ("127.0.0.1:1", {}, "localhost,127.0.0.1,::1"),
        ("[::1]:1", {}, "localhost,127.0.0.1,::1"),
        ("10.0.0.5:1", {}, "localhost,127.0.0.1,::1,10.0.0.5"),
        ("127.0.0.1:1", {"NO_PROXY": "corp.example, localhost"}, "corp.example,localhost,127.0.0.1,::1"),
        ("127.0.0.1:1", {"no_proxy": "corp.example"}, "corp.example,localhost,127.0.0.1,::1"),
    ],
)
def test_the_gateway_is_not_called_through_an_inherited_proxy(address, inherited, never):
    given = variables(address, **inherited)
    assert given["NO_PROXY"] == given["no_proxy"] == never


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run a `wirekey` command on a temporary state folder, with this process as its running proxy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()

    def run(*arguments, gateway="127.0.0.1:4321", running=True, configuration="{}"):
        (tmp_path / "wirekey.yaml").write_text(configuration)
        if running:
            RunningProxy(os.getpid(), "127.0.0.1:1", simulated=False, gateway=gateway).write(tmp_path / "state")
        return CliRunner().invoke(group, arguments)

    return run


@pytest.mark.parametrize(
    ("listener", "base"),
    [("127.0.0.1:4321", "127.0.0.1:4321"), ("0.0.0.0:4321", "127.0.0.1:4321"), ("[::]:1", "[::1]:1")],
)
def test_env_prints_an_address_that_is_reachable_on_this_machine(command, listener, base):
    given = json.loads(command("env", "--gateway", "--json", gateway=listener).stdout)
    assert given["OPENAI_BASE_URL"] == f"http://{base}/v1"
    assert given["OPENAI_API_KEY"].startswith("wk_")


PASSTHROUGH = "providers: {anthropic: {key_source: passthrough}, openai: {keys: [env:SK]}}"


def test_a_program_keeps_its_own_key_of_a_provider_that_is_passed_through(command, monkeypatch):
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-x")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    for options in ((), ("--gateway",)):
        given = json.loads(command("env", *options, "--json", configuration=PASSTHROUGH).stdout)
        assert not given.keys() & {"CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"}
        assert given["OPENAI_API_KEY"] != "sk-of-the-user"
        assert given["HTTPS_PROXY"].startswith("http://")


def test_a_configured_key_is_never_a_programs_own(command, monkeypatch):
    monkeypatch.setenv("SK", "sk-of-the-organisation")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-organisation")
    given = json.loads(command("env", "--json", configuration=PASSTHROUGH).stdout)
    assert given["ANTHROPIC_API_KEY"] is None


def test_an_agents_token_is_not_a_programs_own_key(command, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "wk_of-an-outer-exec")
    given = json.loads(command("env", "--json", configuration=PASSTHROUGH).stdout)
    assert given["ANTHROPIC_API_KEY"] is None


def test_env_without_a_running_proxy_prints_the_configured_gateway_and_warns(command):
    said = command("env", "--gateway", running=False, configuration="listen: {gateway: '127.0.0.1:8123'}")
    assert "export ANTHROPIC_BASE_URL='http://127.0.0.1:8123'" in said.stdout.splitlines()
    assert (said.exit_code, "no proxy is running yet" in said.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [("env", "--gateway"), ("exec", "--gateway", "--", "true")])
def test_if_the_gateway_is_off_the_setting_is_named_and_no_token_is_issued(command, arguments, tmp_path):
    said = command(*arguments, gateway=None)
    assert (said.exit_code, said.stdout) == (1, "")
    assert "listen.gateway" in said.stderr
    assert not (tmp_path / "state" / "agents.json").exists()


def test_the_defaults_of_gemini_cli_are_in_a_folder_that_no_other_user_can_change(tmp_path):
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    file = open_folder / "settings.json"
    file.write_text("{}")
    open_folder.chmod(0o777)
    copy = trusted_copy(file, {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert copy == tmp_path / "cache" / "wirekey" / "settings.json"
    assert copy.read_text() == "{}"
    assert copy.parent.stat().st_mode & 0o077 == 0
    file.write_text('{"a": 1}')
    assert trusted_copy(file, {"XDG_CACHE_HOME": str(tmp_path / "cache")}).read_text() == '{"a": 1}'
