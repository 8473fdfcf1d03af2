"""`wirekey init` writes a first configuration, policy and agent, and never changes what is there."""

import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.support.running import bare_environment
from wirekey.cli.main import group
from wirekey.config import load
from wirekey.config.policy import SHIPPED_POLICIES

OPENAI = ("--provider", "openai", "--key-env", "MY_KEY")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*options):
    return CliRunner().invoke(group, ["init", *options])


def test_it_writes_a_configuration_that_is_valid_and_names_the_variable(folder):
    result = init(*OPENAI)
    assert result.exit_code == 0, result.output
    config = load(None, {"MY_KEY": "sk-of-mine"})
    assert [(label, key.reveal()) for label, key in config.resolve_keys("openai")] == [("openai/1", "sk-of-mine")]
    assert config.effective_policy.path == folder / "policies"
    assert CliRunner().invoke(group, ["config", "check"], env={"MY_KEY": "sk-of-mine"}).exit_code == 0
    assert "set MY_KEY and run" in result.output


def test_the_written_defaults_are_the_defaults(folder):
    init("--provider", "openai")
    written = load(None, {})
    for name in ("listen", "egress", "routes"):
        assert getattr(written, name) == type(written).model_fields[name].default


def test_all_providers_get_their_usual_variable(folder):
    options = [part for name in ("openai", "gemini", "anthropic", "bedrock") for part in ("--provider", name)]
    assert init(*options).exit_code == 0
    variables = {"OPENAI_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"}
    config = load(None, dict.fromkeys(variables, "a-key"))
    for name in ("openai", "gemini", "anthropic", "bedrock"):
        assert len(config.resolve_keys(name)) == 1


def test_the_policy_folder_is_the_default_policy(folder):
    init(*OPENAI)
    assert {path.name: path.read_text() for path in (folder / "policies").iterdir()} == {
        path.name: path.read_text() for path in SHIPPED_POLICIES.iterdir()
    }


def test_the_first_agent_is_added_and_its_token_printed_once(folder):
    result = init(*OPENAI, "--agent", "alice")
    token = next(word for word in result.output.split() if word.startswith("wk_"))
    assert token not in (folder / "state" / "agents.json").read_text()
    assert "alice" in CliRunner().invoke(group, ["agents", "list"]).output


def test_an_existing_configuration_is_not_changed(folder):
    (folder / "wirekey.yaml").write_text("# mine\n")
    result = init(*OPENAI, "--agent", "alice")
    assert result.exit_code == 1
    assert "is not changed" in result.output
    assert [path.name for path in folder.iterdir()] == ["wirekey.yaml"]
    assert (folder / "wirekey.yaml").read_text() == "# mine\n"


def test_an_existing_policy_folder_and_agent_are_not_changed(folder):
    (folder / "policies").mkdir()
    CliRunner().invoke(group, ["agents", "add", "alice"])
    before = (folder / "state" / "agents.json").read_bytes()
    result = init(*OPENAI, "--agent", "alice")
    assert result.exit_code == 0
    assert list((folder / "policies").iterdir()) == []
    assert (folder / "state" / "agents.json").read_bytes() == before
    assert "wk_" not in result.output


@pytest.mark.parametrize("key", ["sk-proj-abcdefghijklmnop", "a b", "1KEY"])
def test_a_key_in_place_of_its_variable_is_refused_and_not_printed(folder, key):
    result = init("--provider", "openai", "--key-env", key)
    assert result.exit_code == 2
    assert "is not the name of a variable" in result.output
    assert "abcdefgh" not in result.output
    assert list(folder.iterdir()) == []


def test_a_variable_without_a_provider_is_refused(folder):
    assert init("--key-env", "MY_KEY").exit_code == 2


def test_on_a_terminal_it_asks(folder):
    main, terminal = pty.openpty()
    os.write(main, b"gemini, openai\nONE\n\nbob\n")
    environment = bare_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "wirekey", "init"], env=environment, stdin=terminal, capture_output=True, text=True
    )
    os.close(main)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert "set ONE and OPENAI_API_KEY and run" in done.stdout
    assert "Added the agent bob." in done.stdout
