"""`wirekey console` prints a link that signs in, and no other secret."""

import json
import os
import stat
import time

import pytest
from click.testing import CliRunner

from wirekey.cli.main import group
from wirekey.core.command_name import COMMAND, SERVE_COMMAND
from wirekey.features.console import operator_token
from wirekey.server.runtime import RunningProxy


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    return tmp_path


def runs(folder, console="127.0.0.1:8090"):
    RunningProxy(os.getpid(), "127.0.0.1:8080", simulated=False, console=console).write(folder / "state")


def run(*arguments):
    return CliRunner().invoke(group, ["console", *arguments])


def code_of(url):
    return url.partition("#code=")[2].strip()


def test_without_a_running_proxy_it_fails(folder):
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"Start Wirekey with `{SERVE_COMMAND}`" in result.stderr
    runs(folder, None)
    assert "listen.console is not open" in run().stderr


@pytest.mark.parametrize(
    ("listens", "shown"),
    [
        ("127.0.0.1:8090", "http://127.0.0.1:8090/#code="),
        ("0.0.0.0:9000", "http://127.0.0.1:9000/#code="),
        ("[::1]:8090", "http://[::1]:8090/#code="),
        ("[::]:8090", "http://[::1]:8090/#code="),
    ],
)
def test_the_link_contains_a_code_made_from_the_token(folder, listens, shown):
    runs(folder, listens)
    result = run()
    assert result.exit_code == 0
    assert result.stdout.startswith(shown)
    token = operator_token.read(folder / "state")
    assert operator_token.verify_link_code(code_of(result.stdout), token, time.time())
    assert token.reveal() not in result.output
    assert stat.S_IMODE((folder / "state" / operator_token.FILE).stat().st_mode) == 0o600


def test_as_json(folder):
    runs(folder)
    shown = json.loads(run("--json").stdout)
    assert shown["url"].startswith("http://127.0.0.1:8090/#code=")
    assert shown["expires_seconds"] == 300


def test_rotate_invalidates_earlier_links(folder):
    runs(folder)
    previous = code_of(run().stdout)
    latest = code_of(run("--rotate").stdout)
    token = operator_token.read(folder / "state")
    assert operator_token.verify_link_code(previous, token, time.time()) is None
    assert operator_token.verify_link_code(latest, token, time.time())


def test_an_unreadable_token_file_is_named_with_the_fix(folder):
    runs(folder)
    (folder / "state" / operator_token.FILE).write_text("rubbish")
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{COMMAND} console --rotate" in result.stderr
    assert run("--rotate").exit_code == 0
