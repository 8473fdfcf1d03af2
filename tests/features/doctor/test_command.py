"""`wirekey doctor` checks this machine and prints what is wrong."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import ssl
import threading
import time
from email.utils import formatdate

import pytest
from click.testing import CliRunner
from tests.support.ports import free_port

from wirekey.cli.main import group
from wirekey.config import HostPort
from wirekey.config.loading import KEY_VARIABLES
from wirekey.core.ca.authority import ensure
from wirekey.features.doctor.connectivity import ask_upstream, writing_trouble
from wirekey.providers.hosts import provider_hosts
from wirekey.server.runtime import RunningProxy
from wirekey_simulator.certificate import prepare_certificate


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variables in KEY_VARIABLES.values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)
    return tmp_path


def look(*arguments):
    result = CliRunner().invoke(group, ["doctor", *arguments, "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    answer = json.loads(result.stdout)
    assert result.exit_code == int(not answer["ok"])
    return {finding["subject"]: finding for finding in answer["findings"]}


def test_a_new_checkout_has_no_problems(folder):
    found = look("--only", "ca", "--only", "keys", "--only", "state")
    assert found["CA"]["level"] == "warning"
    assert found["openai keys"]["message"] == "none: the simulator handles its calls"
    assert list(folder.iterdir()) == []


def test_a_running_proxy_with_the_simulator_needs_no_keys(folder):
    (folder / "wirekey.yaml").write_text("log: {level: info}\n")
    assert look("--only", "keys")["openai keys"]["level"] == "warning"
    (folder / "state").mkdir()
    RunningProxy(os.getpid(), "127.0.0.1:1", simulated=True).write(folder / "state")
    assert look("--only", "keys")["openai keys"]["level"] == "skipped"


def test_a_missing_secret_is_wrong_and_other_keys_are_counted(folder, monkeypatch):
    (folder / "wirekey.yaml").write_text(
        "providers:\n  openai: {keys: [env:ABSENT]}\n  gemini: {keys: [env:PRESENT]}\n"
        "  anthropic: {key_source: client}\n  bedrock: {aws: {profile: default}}\n"
    )
    monkeypatch.setenv("PRESENT", "canary-of-gemini")
    found = look("--only", "keys")
    assert found["openai keys"]["level"] == "wrong"
    assert "providers.openai.keys[0]" in found["openai keys"]["message"]
    assert found["gemini keys"]["message"] == "1 key"
    assert found["anthropic keys"]["message"] == "clients use their own"
    assert found["bedrock keys"]["message"] == "AWS credentials are configured"
    assert "canary" not in str(found)


def test_a_taken_gateway_port_is_wrong_only_if_it_is_configured(folder, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = HostPort("127.0.0.1", listener.getsockname()[1])
        (folder / "wirekey.yaml").write_text(f"listen: {{forward: 127.0.0.1:{free_port()}, gateway: {place}}}\n")
        assert look("--only", "ports")["listen.gateway"]["level"] == "wrong"
        (folder / "wirekey.yaml").write_text(f"listen: {{forward: 127.0.0.1:{free_port()}}}\n")
        monkeypatch.setattr(
            "wirekey.features.doctor.connectivity.listening_trouble", lambda _, port: "in use" if port == 8000 else ""
        )
        assert look("--only", "ports")["listen.gateway"]["level"] == "warning"
    (folder / "wirekey.yaml").write_text(f"listen: {{forward: 127.0.0.1:{free_port()}, gateway: null}}\n")
    assert "listen.gateway" not in look("--only", "ports")


def test_a_taken_port_is_wrong_unless_wirekey_uses_it(folder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (folder / "wirekey.yaml").write_text(f"listen: {{forward: '127.0.0.1:{port}'}}\n")
        assert "in use" in look("--only", "ports")["listen.forward"]["message"]
        (folder / "state").mkdir()
        RunningProxy(os.getpid(), f"127.0.0.1:{port}", simulated=False).write(folder / "state")
        assert look("--only", "ports")["listen.forward"]["level"] == "ok"
    assert look("--only", "ports")["listen.forward"]["level"] == "wrong"


def test_a_running_proxy_with_an_old_ca_is_found(folder):
    ca = ensure(folder / "certs", list(provider_hosts()), roots=[])
    assert look("--only", "ca")["CA"]["level"] == "ok"
    (folder / "state").mkdir()
    RunningProxy(os.getpid(), "127.0.0.1:1", simulated=False).write(folder / "state")
    assert look("--only", "ca")["CA"]["level"] == "ok"
    os.utime(ca.key_file, (time.time() + 9, time.time() + 9))
    assert "newer than the running proxy" in look("--only", "ca")["CA"]["message"]


def test_a_state_folder_that_is_a_file_is_wrong(folder):
    (folder / "state").write_text("")
    assert look("--only", "state")["state folder"]["level"] == "wrong"
    assert writing_trouble(folder / "new" / "state") == ""


@contextlib.contextmanager
def upstream(folder, ahead=0):
    """Run an upstream whose clock is ahead by so many seconds. Yields its port and root."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            assert "authorization" not in self.headers
            self.send_response_only(404)
            self.send_header("Date", formatdate(time.time() + ahead, usegmt=True))
            self.end_headers()

        def log_message(self, *_):
            pass

    server, root = prepare_certificate(folder / "upstream")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listener:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield listener.server_address[1], root
        listener.shutdown()


def configure_upstream(folder, port, root=None):
    lines = [
        "providers:",
        *(f"  {name}: {{upstream_url: 'https://localhost:{port}'}}" for name in ("gemini", "anthropic", "bedrock")),
        f"  openai: {{upstream_url: 'https://localhost:{port}', keys: [env:HOME]}}",
    ]
    (folder / "wirekey.yaml").write_text("\n".join([*lines, *([f"upstream_ca_file: {root}"] if root else [])]) + "\n")


@pytest.mark.parametrize(("ahead", "level"), [(0, "ok"), (120, "warning"), (-4000, "wrong")])
def test_upstreams_are_contacted_and_the_clock_is_compared(folder, ahead, level):
    with upstream(folder, ahead) as (port, root):
        configure_upstream(folder, port, root)
        found = look("--only", "upstreams")
    assert found["openai upstream"]["level"] == "ok"
    assert found["clock"]["level"] == level


def test_an_untrusted_upstream_is_wrong_if_it_is_used(folder):
    with upstream(folder) as (port, _):
        configure_upstream(folder, port)
        found = look("--only", "upstreams")
    assert found["openai upstream"]["level"] == "wrong"
    assert "upstream_ca_file" in found["openai upstream"]["fix"]
    assert found["gemini upstream"]["level"] == "skipped"
    assert found["clock"]["level"] == "skipped"


def test_an_unreachable_upstream_is_reported():
    trouble, offset = ask_upstream("127.0.0.1", free_port(), ssl.create_default_context(), 2)
    assert trouble == "connection refused"
    assert offset is None


def test_offline_contacts_no_upstream(folder):
    assert look("--only", "upstreams", "--offline") == {}


@pytest.mark.parametrize("name", ["curl", "node"])
def test_clients_are_checked_even_without_a_ca(folder, monkeypatch, name):
    if not (program := shutil.which(name)):
        pytest.skip(f"{name} is not installed")
    monkeypatch.setattr(
        "wirekey.features.doctor.probing.candidates", lambda runtime: [program] * (name in runtime.names)
    )
    found = look("--only", "clients").values()
    assert found
    assert {finding["level"] for finding in found} <= {"ok", "skipped"}
    assert "ok" in {finding["level"] for finding in found}
    assert not (folder / "certs").exists()


def test_the_output_for_people_ends_with_a_summary(folder):
    result = CliRunner().invoke(group, ["doctor", "--only", "ca"])
    assert result.exit_code == 0
    assert result.stdout.endswith("1 warning.\n")
