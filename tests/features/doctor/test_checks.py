"""Checks turn observations into findings with a level and a fix."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wirekey.cli.config_checks import Finding, Level
from wirekey.core.ca.authority import CAError, ensure
from wirekey.core.command_name import COMMAND
from wirekey.features.doctor import checks
from wirekey.features.doctor.checks import ClientRun
from wirekey.features.doctor.clients import RUNTIMES, Client
from wirekey.features.doctor.findings import as_json, exit_code, report
from wirekey.features.doctor.stub import StubRequest

CLIENT = Client("x", (), proxy_fix="proxy fix", trust_fix="trust fix, root {root}", seconds=3)
GIT = Client("x", (), proxy_fix="", trust_fix="", calls_providers=False)
ROOT = Path("/certs/root.pem")
ALL = StubRequest(connected=True, credentials=True, requested=True)
HOSTS = ["api.openai.com"]


@pytest.mark.parametrize(
    ("run", "level", "message", "fix"),
    [
        (ClientRun(ALL), "ok", "uses the proxy and trusts the CA", ""),
        (ClientRun(StubRequest(), absent=True), "skipped", "is not installed", ""),
        (ClientRun(StubRequest(), output="no route"), "wrong", "does not use the proxy (no route)", "proxy fix"),
        (ClientRun(StubRequest(), ended=False), "wrong", "use the proxy and did not end within 3 s", "proxy fix"),
        (
            ClientRun(StubRequest(connected=True, credentials=True, refused="unknown ca"), output="bad"),
            "wrong",
            "does not trust the CA (unknown ca)",
            "trust fix, root /certs/root.pem",
        ),
        (
            ClientRun(StubRequest(connected=True), output="bad cert"),
            "wrong",
            "does not trust the CA (bad cert)",
            "trust fix",
        ),
        (
            ClientRun(StubRequest(connected=True, requested=True)),
            "warning",
            "does not send the agent's token",
            "in place of the program's",
        ),
    ],
)
def test_a_client_is_checked_by_what_arrived(run, level, message, fix):
    finding = checks.check_client("Python x", CLIENT, run, ROOT)
    assert (finding.area, finding.subject, finding.level) == ("clients", "Python x", level)
    assert message in finding.message
    assert fix in finding.fix
    assert bool(fix) == bool(finding.fix)


def test_a_client_of_other_hosts_without_credentials_gets_another_fix():
    finding = checks.check_client("git", GIT, ClientRun(StubRequest(connected=True, requested=True)), ROOT)
    assert "identity.required" in finding.fix


def test_every_client_has_both_fixes_and_a_unique_name():
    for runtime in RUNTIMES:
        assert all(client.proxy_fix and client.trust_fix for client in runtime.clients)
        assert len({client.name for client in runtime.clients}) == len(runtime.clients)


@pytest.mark.parametrize(
    ("trouble", "own", "level", "message", "fix"),
    [
        ("", True, "ok", "https://127.0.0.1:8000 responds with a certificate of Wirekey's CA", ""),
        ("", False, "ok", "responds with the certificate of listen.gateway_tls", ""),
        ("no response in time", True, "wrong", "https://127.0.0.1:8000: no response in time", "see its log"),
        (None, True, "skipped", "the CA does not cover localhost", f"`{COMMAND} ca renew`"),
    ],
)
def test_gateway_tls_is_checked(trouble, own, level, message, fix):
    finding = checks.check_gateway_tls("127.0.0.1:8000", trouble, own=own)
    assert (finding.area, finding.subject, finding.level) == ("ports", "gateway TLS", level)
    assert message in finding.message
    assert fix in finding.fix


@pytest.fixture
def ca(tmp_path):
    return ensure(tmp_path / "certs", HOSTS, roots=[])


@pytest.mark.parametrize(
    ("hosts", "days_left", "levels", "word"),
    [
        (HOSTS, 200, ["ok"], "covers 1 hosts"),
        ([*HOSTS, "example.org"], 200, ["wrong"], "does not cover example.org"),
        (HOSTS, 29, ["warning"], "expires in 29 days"),
        (["example.org"], 1, ["wrong", "warning"], "does not cover"),
    ],
)
def test_a_ca_is_checked(ca, hosts, days_left, levels, word):
    now = ca.expires - timedelta(days=days_left)
    findings = checks.check_ca(ca, hosts, now, exists=True, is_newer_than_proxy=False)
    assert [finding.level for finding in findings] == levels
    assert word in findings[0].message


def test_a_ca_that_is_newer_than_the_proxy_is_wrong(ca):
    [finding] = checks.check_ca(ca, HOSTS, ca.begins, exists=True, is_newer_than_proxy=True)
    assert finding.level == "wrong"
    assert "newer than the running proxy" in finding.message


@pytest.mark.parametrize(("exists", "level"), [(False, "warning"), (True, "wrong")])
def test_a_missing_ca_is_only_a_warning(exists, level):
    error = CAError(Path("ca.pem"), "is odd", "mend it")
    [finding] = checks.check_ca(error, HOSTS, datetime.now(UTC), exists=exists, is_newer_than_proxy=False)
    assert (finding.level, finding.message, finding.fix) == (level, "ca.pem: is odd", "mend it")


@pytest.mark.parametrize(
    ("count", "problems", "words", "level", "message"),
    [
        (2, [], {}, "ok", "2 keys"),
        (0, ["f:1: env:X is not set"], {}, "wrong", "env:X is not set"),
        (0, [], {"not_needed": "the simulator handles its calls"}, "skipped", "none: the simulator"),
        (0, [], {}, "warning", "503"),
        (0, [], {"other_source": "clients use their own"}, "ok", "use their own"),
    ],
)
def test_keys_are_checked(count, problems, words, level, message):
    finding = checks.check_keys("gemini", count, problems, **{"not_needed": "", **words})
    assert finding.level == level
    assert message in finding.message
    if level in ("skipped", "warning"):
        assert "GEMINI_API_KEY" in finding.fix


@pytest.mark.parametrize(
    ("offsets", "level", "message"),
    [
        ({}, "skipped", "no upstream"),
        ({"a": 0.4, "b": -0.6}, "ok", "agrees"),
        ({"a": 90}, "warning", "90 s ahead"),
        ({"a": -400}, "wrong", "400 s behind that of a"),
        ({"a": 0, "b": 5000, "c": 1}, "ok", "agrees with c"),
    ],
)
def test_the_clock_is_compared_with_the_median_upstream(offsets, level, message):
    finding = checks.check_clock(offsets)
    assert finding.level == level
    assert message in finding.message


@pytest.mark.parametrize(
    ("trouble", "used", "level", "fix"),
    [
        ("", True, "ok", ""),
        ("no response in time", True, "wrong", "providers.openai.upstream_url"),
        ("no response in time", False, "skipped", "providers.openai.upstream_url"),
        ("its certificate is not trusted: self-signed", True, "wrong", "upstream_ca_file"),
    ],
)
def test_upstreams_are_checked(trouble, used, level, fix):
    finding = checks.check_upstream("openai", "api.openai.com:443", trouble, used=used)
    assert finding.level == level
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("trouble", "serving", "level", "fix"),
    [
        ("", False, "ok", ""),
        ("", True, "ok", ""),
        ("address already in use", False, "wrong", "set listen.forward"),
        ("connection refused", True, "wrong", "restart it"),
    ],
)
def test_ports_are_checked(trouble, serving, level, fix):
    finding = checks.check_port("listen.forward", "127.0.0.1:8080", trouble, serving=serving)
    assert finding.level == level
    assert fix in finding.fix


@pytest.mark.parametrize(("trouble", "level"), [("", "ok"), ("cannot be written", "wrong")])
def test_the_state_folder_is_checked(trouble, level):
    assert checks.check_state("state", trouble).level == level


FINE = Finding("a", "one", Level.OK, "is fine")
POOR = Finding("a", "second", Level.WARNING, "is poor", "mend it")
WRONG = Finding("b", "third", Level.WRONG, "is wrong", "do it")
SKIPPED = Finding("b", "fourth", Level.SKIPPED, "is not here")


@pytest.mark.parametrize(
    ("findings", "code", "last"),
    [
        ([], 0, "No problems found."),
        ([FINE], 0, "No problems found."),
        ([FINE, SKIPPED], 0, "No problems found. 1 skipped."),
        ([FINE, POOR], 0, "1 warning."),
        ([WRONG, POOR, POOR], 1, "1 wrong, 2 warnings."),
    ],
)
def test_only_wrong_findings_make_the_exit_code_1(findings, code, last):
    assert exit_code(findings) == code
    assert report(findings).splitlines()[-1] == last
    assert as_json(findings)["ok"] is (code == 0)


def test_each_fix_is_printed_below_its_finding():
    assert report([FINE, POOR]).splitlines()[:3] == [
        "ok       one     is fine",
        "warning  second  is poor",
        "                 → mend it",
    ]
