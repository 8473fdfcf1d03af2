"""The demo runs a complete round, and fails if a check fails."""

import pytest
from click.testing import CliRunner

from tests.support.running import fork_server
from wirekey.cli.main import group
from wirekey.core.command_name import COMMAND
from wirekey.features.demo import command as demo


def test_the_demo_runs_a_complete_round():
    result = CliRunner().invoke(group, ["demo"])
    assert result.exit_code == 0, result.output
    for word in ("openai", "gemini", "anthropic", "bedrock", "AuthenticationError", "converse-stream", "denied"):
        assert word in result.output
    for command in ("agents add alice", "exec --agent alice", "audit list"):
        assert f"$ {COMMAND} {command}" in result.output, "a newcomer may try it as it is printed"
    assert result.output.count(" chunks ") == 4
    assert result.output.count("     plain ") == 4


@pytest.fixture
def forked(monkeypatch):
    """Fork the commands of the demo, rather than start a new Python for each."""

    def wirekey(self, *arguments):
        done = fork_server().run(list(arguments), self.folder, self.environment, demo.STEP_SECONDS)
        assert done.returncode == 0, done.stderr
        return done.stdout

    monkeypatch.setattr(demo.Demo, "wirekey", wirekey)


def test_a_failed_call_is_named_and_exits_with_1(monkeypatch, forked):
    def without_gemini(simulator, made=demo.configuration):
        settings = made(simulator)
        settings["providers"]["gemini"]["keys"] = []
        return settings

    monkeypatch.setattr(demo, "configuration", without_gemini)
    result = CliRunner().invoke(group, ["demo"])
    assert result.exit_code == 1, result.output
    assert "the plain call of gemini returned" in result.output
    assert "the streamed call of gemini returned" in result.output
    assert "6 requests reached the provider, not 8" in result.output
    assert "openai returned" not in result.output


def test_a_proxy_that_does_not_start_is_reported_and_exits_with_1(monkeypatch):
    monkeypatch.setattr(demo, "configuration", lambda _: {"listn": {}})
    result = CliRunner().invoke(group, ["demo"])
    assert result.exit_code == 1
    assert "listn" in result.output


@pytest.mark.parametrize("missing", demo.SDKS)
def test_a_missing_sdk_is_named_with_the_fix(missing, monkeypatch):
    monkeypatch.setattr(demo, "installed", lambda name: name != missing)
    result = CliRunner().invoke(group, ["demo"])
    assert result.exit_code == 2
    assert missing in result.output
    assert "./run.sh demo" in result.output
    assert "wirekey[demo]" in result.output
