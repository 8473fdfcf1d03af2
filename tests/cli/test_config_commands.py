"""wirekey config check and show, and the options that all commands share."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from wirekey.cli import main

KEY = "sk-proj-4f1c9e0a7b3d5e2f8a6c1b0d"
GOOD = "log:\n  level: debug\nproviders: {openai: {keys: [env:A]}}\n"
BAD = "log: {level: loud}\nstat: x\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments, config=None, environ=None):
        if config is not None:
            (tmp_path / "wirekey.yaml").write_text(config)
        cleared = dict.fromkeys(("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ANTHROPIC_API_KEY"))
        return CliRunner().invoke(main.group, arguments, env={**cleared, **(environ or {})})

    return run


@pytest.mark.parametrize(
    ("config", "environ", "code", "words"),
    [
        (None, {}, 0, "the defaults, as there is no wirekey.yaml: no problems"),
        (GOOD, {"A": KEY}, 0, "wirekey.yaml: no problems"),
        (GOOD, {}, 1, "1 problem in the configuration:\n  wirekey.yaml:3: providers.openai.keys[0]: env:A: "),
        (
            "routes: [{match: a, provider: anthropic}]",
            {"ANTHROPIC_API_KEY": KEY},
            0,
            "no problems\nroutes[0] translates openai.chat, openai.responses, gemini, converse to anthropic\n",
        ),
        (BAD, {}, 1, "2 problems in the configuration:\n  wirekey.yaml:1: log.level: must be"),
        ("routes: [{match: '*', model: b}, {match: a}]", {}, 1, "routes[1].match: can never match"),
    ],
)
def test_check_reports_problems(run, config, environ, code, words):
    result = run("config", "check", config=config, environ=environ)
    assert (result.exit_code, words in result.output) == (code, True), result.output
    assert KEY not in result.output


def test_check_prints_problems_as_json(run):
    result = run("config", "check", "--json", config="\nstat: x")
    assert json.loads(result.stdout) == {
        "ok": False,
        "problems": [
            {
                "file": "wirekey.yaml",
                "line": 2,
                "key": "stat",
                "message": "is not a setting. Did you mean state?",
            }
        ],
    }


def test_show_prints_values_and_sources_but_no_secrets(run):
    result = run("config", "show", config=GOOD, environ={"A": KEY, "ANTHROPIC_API_KEY": KEY})
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in result.stdout.splitlines()}
    assert rows["log.level"] == ["debug", "file:2"]
    assert rows["log.format"] == ["null", "default"]
    assert rows["providers.anthropic.keys"] == ['["env:ANTHROPIC_API_KEY"]', "env ANTHROPIC_API_KEY"]
    assert KEY not in result.output


def test_show_prints_json(run):
    shown = json.loads(run("config", "show", "--json", config=GOOD).stdout)
    assert shown["log.level"] == {"value": "debug", "source": "file:2"}
    assert shown["providers.openai.keys"] == {"value": ["env:A"], "source": "file:3"}


@pytest.mark.parametrize(
    "arguments", [("config", "show", "--config", "none.yaml"), ("nonsense",), ("config", "nonsense")]
)
def test_wrong_usage_exits_with_2(run, arguments):
    assert run(*arguments).exit_code == 2


def test_a_bad_configuration_exits_with_2(run):
    result = run("config", "show", config=BAD)
    assert result.exit_code == 2
    assert "wirekey.yaml:2: stat: is not a setting. Did you mean state?" in result.stderr


def test_help_lists_the_commands_without_importing_them():
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from wirekey.cli import main\n"
        "result = CliRunner().invoke(main.group, ['--help'])\n"
        "assert result.exit_code == 0 and 'config' in result.output, result.output\n"
        "print(sorted(set(sys.modules) & {'mitmproxy', 'pydantic', 'botocore', 'wirekey.cli.serve'}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert run.stdout == "[]\n", run.stderr


def test_a_command_with_a_missing_module_does_not_affect_others(run, monkeypatch):
    monkeypatch.setitem(main.COMMANDS, "absent", "Not there.")
    assert "absent" not in run("--help").output
    assert run("absent").exit_code == 2
    assert run("config", "check").exit_code == 0
