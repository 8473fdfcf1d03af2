"""Clients call a stub proxy, which sees whether they use it, trust it, and send their token."""

import os
import shutil
import sys

import pytest

from wirekey.cli.environment import NODE_HOOK, client_environment
from wirekey.core.ca.authority import ensure
from wirekey.core.identity.aws_pairs import KeyPair
from wirekey.core.secret import Secret
from wirekey.features.doctor.clients import RUNTIMES, Client, Runtime
from wirekey.features.doctor.probing import Installed, Prober, installed_runtimes, telling_line

HOSTS = {"openai": "api.openai.com", "bedrock": "bedrock-runtime.us-east-1.amazonaws.com"}

DISTRUSTFUL = """
import ssl, sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=20, context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
"""
ANONYMOUS = """
import http.client, os, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, timeout=20)
connection.set_tunnel("api.openai.com", 443)
connection.request("GET", "/v1/models")
connection.getresponse().read()
"""
STRANGER = ANONYMOUS.replace("443)", "443, {'Proxy-Authorization': 'Basic c29tZTpvbmU='})")
ELSEWHERE = ANONYMOUS.replace("api.openai.com", "example.com")
PLAIN = ANONYMOUS.replace("HTTPSConnection", "HTTPConnection").replace(
    'connection.set_tunnel("api.openai.com", 443)', ""
)
TELLTALE = "import os; raise SystemExit('error: ' + os.environ['HTTPS_PROXY'])"


PAIR = KeyPair("WKEY" + "A" * 16, Secret("a" * 40))


@pytest.fixture(scope="module")
def prober(tmp_path_factory):
    authority = ensure(tmp_path_factory.mktemp("ca") / "certs", list(HOSTS.values()))

    def environment(port, agent, token):
        return dict(os.environ) | client_environment(
            host="127.0.0.1",
            port=port,
            agent=agent,
            token=token,
            certs=authority.folder,
            region="us-east-1",
            pair=PAIR,
            inherited=os.environ,
            node_hook=NODE_HOOK,
        )

    return Prober(authority, HOSTS, environment)


def finding_of(prober, *arguments, program=sys.executable, absent=(), **settings):
    client = Client("", arguments, "proxy fix", "trust fix", **settings)
    runtime = Runtime(("python",), ("-V",), (client,), absent=absent)
    [finding] = prober.findings([Installed(runtime, program, "Python")])
    return finding.level, finding.message


@pytest.mark.parametrize(
    ("program", "level", "message"),
    [
        ("pass", "wrong", "does not use the proxy"),
        ("raise SystemExit('cannot: error 5')", "wrong", "does not use the proxy (cannot: error 5)"),
        ("raise SystemExit(77)", "skipped", "is not installed"),
        ("raise SystemExit('no such module: jdk')", "skipped", "is not installed"),
        (DISTRUSTFUL, "wrong", "does not trust the CA (tlsv1 alert unknown ca)"),
        (ANONYMOUS, "warning", "does not send the agent's token"),
        (STRANGER, "warning", "does not send the agent's token"),
        (ELSEWHERE, "wrong", "does not trust the CA"),
        (PLAIN, "wrong", "does not use the proxy"),
    ],
)
def test_findings_follow_what_the_client_does(prober, program, level, message):
    found_level, found_message = finding_of(prober, "-c", program, "{url}", absent=("no such module",))
    assert found_level == level
    assert message in found_message


def test_a_client_that_does_not_end_is_killed_with_its_children(prober):
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(99)'])"
    level, message = finding_of(prober, "-c", program, seconds=0.7)
    assert level == "wrong"
    assert "did not end within 0.7 s" in message


def test_a_program_that_cannot_be_started_is_reported(prober):
    level, message = finding_of(prober, program="/absent/program")
    assert level == "wrong"
    assert "No such file" in message


def test_the_output_of_a_client_is_shown_without_the_token(prober):
    _, message = finding_of(prober, "-c", TELLTALE)
    assert "wirekey-doctor:…@127.0.0.1" in message


def runtime_of(name):
    return next(runtime for runtime in RUNTIMES if name in runtime.names)


@pytest.mark.parametrize("name", ["python3", "node", "curl", "git"])
def test_real_clients_pass_with_the_environment_of_exec(prober, name):
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    found = installed_runtimes([runtime_of(name)])
    assert found
    for finding in prober.findings(found[:1]):
        assert finding.level in ("ok", "skipped"), finding


def test_one_runtime_with_two_names_is_found_once(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).write_text("#!/bin/sh\necho Thing 1.2.3 of 2020\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "other").write_text("#!/bin/sh\necho Thing 1.2.3 elsewhere\n")
    (tmp_path / "broken").write_text("#!/bin/sh\necho Thing 1.2.3 broken; exit 1\n")
    for name in ("other", "broken"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    def labels(*names):
        return [found.label for found in installed_runtimes([Runtime(names, (), ())])]

    assert labels("one", "two", "broken", "absent") == ["Thing 1.2.3"]
    assert labels("one", "other") == [f"Thing 1.2.3 ({tmp_path / 'one'})", f"Thing 1.2.3 ({tmp_path / 'other'})"]


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("Picked up JAVA_TOOL_OPTIONS: error\n", ""),
        ("one\ntwo\n", "two"),
        ("x: Error 5\n  at somewhere(error.java)\ndone\n", "x: Error 5"),
        ("e" * 500, "e" * 160),
    ],
)
def test_the_most_telling_line_of_the_output_is_found(output, line):
    assert telling_line(output) == line
