"""The demo tells a whole round, and notices when it is not as it should be."""

import pytest
from click.testing import CliRunner

from wirekey.cli import demo
from wirekey.cli.main import group


def test_the_demo_makes_a_whole_round_and_ends_well():
    result = CliRunner().invoke(group, ["demo"])
    assert result.exit_code == 0, result.output
    for word in ("openai", "gemini", "anthropic", "bedrock", "AuthenticationError", "converse-stream", "denied"):
        assert word in result.output
    assert result.output.count(" chunks ") == 4
    assert result.output.count("     plain ") == 4


def test_a_call_that_goes_wrong_makes_the_demo_end_with_1_and_say_which(monkeypatch):
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


def test_a_proxy_that_does_not_start_makes_the_demo_end_with_1_and_its_words(monkeypatch):
    monkeypatch.setattr(demo, "configuration", lambda _: {"listn": {}})
    result = CliRunner().invoke(group, ["demo"])
    assert result.exit_code == 1
    assert "listn" in result.output


@pytest.mark.parametrize("missing", demo.SDKS)
def test_without_an_sdk_the_demo_says_how_to_get_it(missing, monkeypatch):
    monkeypatch.setattr(demo, "installed", lambda name: name != missing)
    result = CliRunner().invoke(group, ["demo"])
    assert result.exit_code == 2
    assert missing in result.output
    assert "./run.sh demo" in result.output
