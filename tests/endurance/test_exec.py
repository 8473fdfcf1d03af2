"""`exec` and `env` give a program all that it needs, wherever Wirekey lies and whatever its arguments are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tests.support.serving import PLAIN, serving, wirekey, write_configuration
from wirekey.cli.environment import client_environment
from wirekey.core.identity.aws_pairs import KeyPair
from wirekey.core.secret import Secret


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("a place with spaces")) as found:
        found.add_agent("alice")
        yield found


@pytest.mark.parametrize(
    "arguments",
    [
        ["exec", "--", "python", "-c", "print('said', 1)"],
        ["exec", "python", "-c", "print('said', 1)"],
        ["exec", "--agent", "alice", "python", "-c", "import sys; print('said', sys.argv.count('--help'))", "--help"],
        ["exec", "sh", "-c", "echo said $0", "1", "--config", "x"],
    ],
)
def test_what_stands_after_the_program_is_the_programs(running, arguments):
    ended = wirekey(running.folder, *arguments)
    assert ended.returncode == 0, ended
    assert ended.stdout.strip() == "said 1"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["exec", "no-such-program"], 127, "no-such-program: no such program"),
        (["exec", "--agent", "nobody", "true"], 1, "There is no agent 'nobody'"),
        (["exec"], 2, "Missing argument"),
        (["exec", "--agnt", "x", "true"], 2, "No such option"),
        (["exec", "sh", "-c", "exit 7"], 7, ""),
        (["exec", "sh", "-c", "kill -9 $$"], 137, ""),
        (["env", "--agent", "nobody"], 1, "There is no agent 'nobody'"),
    ],
)
def test_exit_codes_and_errors_are_those_of_a_shell(running, arguments, code, words):
    ended = wirekey(running.folder, *arguments)
    assert ended.returncode == code, ended
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_program_gets_its_own_token_which_ends_with_it(running):
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    environ = json.loads(wirekey(running.folder, "exec", "python", "-c", script).stdout)
    token = environ["HTTPS_PROXY"].partition("://")[2].partition("@")[0].partition(":")[2]
    assert token.startswith("wk_")
    assert running.agents.find(token) is None


def test_without_a_proxy_it_says_how_to_start_one(tmp_path):
    write_configuration(tmp_path, PLAIN)
    ended = wirekey(tmp_path, "exec", "true")
    assert ended.returncode == 1
    assert "no proxy uses this state folder" in ended.stderr


PAIR = KeyPair("WKEY" + "A" * 16, Secret("a" * 40))


@pytest.mark.parametrize("name", ["plain", "with space", 'with "quotes" in it', "with \\ backslash", "it's"])
@pytest.mark.parametrize("runtime", ["node", "java"])
def test_paths_of_any_spelling_reach_node_and_java(tmp_path, name, runtime):
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    folder = tmp_path / name
    folder.mkdir()
    hook = folder / "hook.cjs"
    hook.write_text("console.log('hooked')")
    environ = client_environment(
        host="127.0.0.1",
        port=1,
        agent="a",
        token="t",
        certs=folder,
        region="r",
        inherited={},
        node_hook=hook,
        pair=PAIR,
    )
    path = {"PATH": os.environ["PATH"]}
    if runtime == "node":
        said = subprocess.run(
            ["node", "-e", "0"], env=path | {"NODE_OPTIONS": environ["NODE_OPTIONS"]}, capture_output=True, text=True
        )
        assert said.stdout == "hooked\n", said
    else:
        options = {"JAVA_TOOL_OPTIONS": environ["JAVA_TOOL_OPTIONS"]}
        said = subprocess.run(
            ["java", "-XshowSettings:properties", "-version"], env=path | options, capture_output=True, text=True
        )
        assert f"javax.net.ssl.trustStore = {folder / 'truststore.p12'}\n" in said.stderr, said
