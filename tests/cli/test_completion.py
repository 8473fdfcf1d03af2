"""bash, zsh and fish complete commands and options, by click's own mechanism."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support.running import bare_environment

SHELLS = ("bash", "zsh", "fish")


def wirekey(**environment):
    environment |= bare_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-m", "wirekey"], env=environment, capture_output=True, text=True).stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_line_of_the_start_file_prints_a_script(shell):
    assert f"_WIREKEY_COMPLETE={shell}_complete" in wirekey(_WIREKEY_COMPLETE=f"{shell}_source")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("wirekey", "ag"), {"agents"}),
        (("wirekey", "agents", "re"), {"revoke"}),
        (("wirekey", "exec", "--ga"), {"--gateway"}),
        (("wirekey", "init", "--provider", "op"), {"openai"}),
    ],
)
def test_commands_options_and_values_are_completed(words, expected):
    for shell in ("bash", "zsh"):
        variables = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        assert expected <= set(wirekey(_WIREKEY_COMPLETE=f"{shell}_complete", **variables).replace(",", "\n").split())
    variables = {"COMP_WORDS": " ".join(words), "COMP_CWORD": words[-1]}
    found = wirekey(_WIREKEY_COMPLETE="fish_complete", **variables)
    assert expected <= set(found.replace(",", "\n").replace("\t", "\n").split())


def test_commands_are_completed_without_importing_them():
    check = "import sys; from wirekey.cli.main import main\ntry: main()\nfinally: print('mitmproxy' in sys.modules)"
    environment = bare_environment() | {"PYTHONPATH": os.pathsep.join(sys.path), "_WIREKEY_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", check],
        env=environment | {"COMP_WORDS": "wirekey ", "COMP_CWORD": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert "plain,serve" in done.stdout
    assert done.stdout.endswith("False\n")


def test_bash_itself_loads_the_script():
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    script = 'eval "$(cat)"; complete -p wirekey'
    source = wirekey(_WIREKEY_COMPLETE="bash_source")
    done = subprocess.run(["bash", "-c", script], input=source, capture_output=True, text=True)
    assert "wirekey" in done.stdout, done.stderr
