"""Where Wirekey cannot start, it says in a sentence why, where, and what to do, and ends with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.ports import free_port
from tests.support.running import PATIENCE, bare_environment, wait_for
from tests.support.serving import (
    PLAIN,
    refused_start,
    serving,
    taken_port,
    write_configuration,
)
from wirekey.cli.banner import simulation
from wirekey.core.calls.settings import Settings

OWN = {"listen": dict.fromkeys(["forward", "gateway", "console"], "127.0.0.1:0")}
TOKENS = "(/health, /ready, /api/v1/auth/token)"


@pytest.mark.parametrize(
    ("configuration", "sentences"),
    [
        ("providers: [", ["wirekey.yaml:1: "]),
        ("stat: ./x", ["wirekey.yaml:1: stat: is not a setting. Did you mean state?"]),
        ("upstream_ca_file: missing.pem", ["wirekey.yaml:1: upstream_ca_file: ", "missing.pem cannot be read"]),
        (
            "providers:\n  openai: {keys: [env:NO_SUCH_KEY, file:missing]}",
            ["wirekey.yaml:2: providers.openai.keys[0]: env:NO_SUCH_KEY", "providers.openai.keys[1]: file:missing"],
        ),
        (
            "{upstream_ca_file: rubbish.pem, listen: {forward: '127.0.0.1:0'}}",
            ["upstream_ca_file: ", "rubbish.pem contains a certificate that cannot be read"],
        ),
        (
            "routes: [{match: a, upstream_url: 'https://x.example', auth: 'python:no_such_module:f'}]",
            ["wirekey.yaml:1: routes[0].auth: there is no Python module no_such_module"],
        ),
        ("listen: {forward: 192.0.2.1:8080}", ["192.0.2.1:8080 (listen.forward) is not an address of this machine"]),
        (
            "log: {file: /nonexistent/wirekey.core.observing.log}",
            ["log.file: /nonexistent/wirekey.core.observing.log cannot be written"],
        ),
    ],
)
def test_a_configuration_that_cannot_be_served_is_refused_with_its_place(tmp_path, configuration, sentences):
    (tmp_path / "rubbish.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    said = refused_start(tmp_path, configuration)
    for sentence in sentences:
        assert sentence in said


def test_a_second_instance_on_the_same_state_says_so_before_it_touches_anything(tmp_path):
    with serving(tmp_path) as first:
        said = refused_start(tmp_path, {"state": str(first.state), "certs": "other", **PLAIN})
        assert f"Another Wirekey (process {first.process.pid}) uses the state folder {first.state}." in said
        assert "state:" in said
        assert not (tmp_path / "other").exists()
        assert first.process.poll() is None


def test_a_port_in_use_is_named_with_its_setting(tmp_path):
    with taken_port() as port:
        said = refused_start(tmp_path, {"listen": {"forward": f"127.0.0.1:{port}"}})
    assert f"127.0.0.1:{port} (listen.forward) is in use by another program." in said
    assert "set another port in wirekey.yaml" in said
    assert not (tmp_path / "certs").exists()


@pytest.mark.parametrize("name", ["gateway", "console"])
def test_a_port_of_our_own_endpoints_in_use_is_named_before_anything_begins(tmp_path, name):
    with taken_port() as port:
        said = refused_start(tmp_path, {"listen": {"forward": "127.0.0.1:0", name: f"127.0.0.1:{port}"}})
    assert f"127.0.0.1:{port} (listen.{name}) is in use by another program." in said
    assert "set another port in wirekey.yaml" in said
    assert not (tmp_path / "certs").exists()


def test_the_port_of_the_web_page_in_use_is_named_too(tmp_path):
    with taken_port() as port:
        said = refused_start(tmp_path, PLAIN, "--web", "--web-port", str(port))
    assert f"127.0.0.1:{port} (the page of --web) is in use" in said


def test_a_ca_that_cannot_be_used_is_named_with_the_fix(tmp_path):
    with serving(tmp_path):
        pass
    key = tmp_path / "certs" / "mitmproxy-ca.pem"
    key.chmod(0o644)
    assert f"other users may use the CA's key (mode 644); chmod 600 {key}" in refused_start(tmp_path)
    key.chmod(0o600)
    key.write_bytes(key.read_bytes()[:900])
    said = refused_start(tmp_path)
    assert f"{key}: " in said
    assert "wirekey ca renew" in said


@pytest.mark.parametrize(("name", "fix"), [("state", "cannot be used: "), ("certs", "set `certs`")])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, name, fix):
    (tmp_path / "closed").write_text("a file is in the way: that stops root, too")
    said = refused_start(tmp_path, {**PLAIN, name: "closed/folder"})
    assert "closed/folder" in said
    assert fix in said


if os.geteuid() != 0:  # root may write everywhere

    @pytest.mark.parametrize("name", ["state", "certs"])
    def test_a_read_only_folder_is_named(tmp_path, name):
        (tmp_path / "closed").mkdir(mode=0o555)
        assert str(tmp_path / "closed") in refused_start(tmp_path, {**PLAIN, name: "closed"})


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("agents.json", "{", "agents.json is not a valid list of agents"),
        ("audit.db", "not a database " * 100, "audit.db cannot be used: the audit file is damaged"),
    ],
)
def test_a_broken_file_in_the_state_is_named_and_left_as_it_is(tmp_path, name, content, sentence):
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / name).write_text(content)
    assert sentence in refused_start(tmp_path)
    assert (tmp_path / "state" / name).read_text() == content


def test_an_environment_that_logs_session_keys_is_refused(tmp_path):
    assert "Unset SSLKEYLOGFILE." in refused_start(tmp_path, PLAIN, environ={"SSLKEYLOGFILE": "keys.log"})


@pytest.mark.parametrize(
    ("arguments", "environ", "configuration", "words"),
    [
        (("--simulator",), {}, PLAIN, ["SIMULATED: --simulator was given"]),
        ((), {"OPENAI_API_KEY": "sk-x"}, PLAIN, ["openai     1 key", "set GEMINI_API_KEY", "set ANTHROPIC_API_KEY"]),
        ((), {}, PLAIN, ["set OPENAI_API_KEY", "set AWS_BEARER_TOKEN_BEDROCK"]),
        ((), {}, OWN, ["  console    http://127.0.0.1:", "  gateway    http://127.0.0.1:", TOKENS]),
    ],
)
def test_the_start_message_has_all_that_a_newcomer_needs(tmp_path, arguments, environ, configuration, words):
    write_configuration(tmp_path, configuration)
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "wirekey", "serve", *arguments],
        cwd=tmp_path,
        env=bare_environment() | environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "audit tail" in line:
                break
        process.terminate()
        assert process.wait(PATIENCE) == 0
    said = "".join(lines)
    root = tmp_path / "certs" / "mitmproxy-ca-cert.pem"
    for word in [*words, "listens on 127.0.0.1:", str(root), "SHA-256 ", "exec -- python"]:
        assert word in said
    for provider in ("openai", "gemini", "anthropic", "bedrock"):
        assert f"  {provider} " in said


def test_without_keys_the_start_message_says_why_the_simulator_responds():
    lifecycle = SimpleNamespace(
        services=SimpleNamespace(settings=Settings({}, {}, simulated=True)), simulator_wanted=None
    )
    said = "".join(simulation(lifecycle))
    assert "SIMULATED: there is no provider key and no wirekey.yaml" in said
    others = "OPENAI_API_KEY, GEMINI_API_KEY, ANTHROPIC_API_KEY, AWS_BEARER_TOKEN_BEDROCK"
    assert f"set {others} or MISTRAL_API_KEY and restart" in " ".join(said.split())


def test_mitmdump_listens_where_the_configuration_says(tmp_path):
    port = free_port()
    write_configuration(tmp_path, {"listen": {"forward": f"127.0.0.1:{port}"}})
    with started_by_mitmdump(tmp_path) as said:
        wait_for(lambda: f"listening at 127.0.0.1:{port}" in said.read_text(), "mitmdump to listen", PATIENCE)
        wait_for((tmp_path / "state" / "running.json").exists, "Wirekey to run", PATIENCE)
        assert f"127.0.0.1:{port}" in (tmp_path / "state" / "running.json").read_text()
        assert ":8080" not in said.read_text()


def test_mitmdump_listens_where_its_own_options_say(tmp_path):
    port = free_port()
    write_configuration(tmp_path, {"listen": {"forward": "127.0.0.1:1"}})
    with started_by_mitmdump(tmp_path, "--mode", f"regular@127.0.0.1:{port}") as said:
        wait_for((tmp_path / "state" / "running.json").exists, "Wirekey to run", PATIENCE)
        assert f"127.0.0.1:{port}" in (tmp_path / "state" / "running.json").read_text()
        assert "127.0.0.1:1." not in said.read_text()


def test_mitmdump_refuses_what_serve_refuses(tmp_path):
    write_configuration(tmp_path, PLAIN)
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state/audit.db").write_text("not a database " * 100)
    with started_by_mitmdump(tmp_path, "--mode", "regular@127.0.0.1:0") as said:
        wait_for(lambda: "logged during startup, exiting" in said.read_text(), "mitmdump to give up", PATIENCE)
    assert "the audit file is damaged" in said.read_text()


class started_by_mitmdump:  # noqa: N801  # read as a sentence
    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.arguments = arguments
        self.said = folder / "output.txt"

    def __enter__(self) -> Path:
        bundle = Path(__file__).parents[2] / "addons" / "bundle.py"
        program = Path(sys.executable).with_name("mitmdump")
        with self.said.open("wb") as output:
            self.process = subprocess.Popen(
                [program, "-s", bundle, *self.arguments],
                cwd=self.folder,
                env=bare_environment() | {"PYTHONUNBUFFERED": "1", "HOME": str(self.folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self.said

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
