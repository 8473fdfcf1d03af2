"""A companion operation of a coding agent is declined quietly, counted apart, and allowed by policy."""

from __future__ import annotations

import sqlite3

import httpx
import pytest
from click.testing import CliRunner

from tests.support.running import PROVIDER_KEYS, wirekey_behind
from wirekey.cli.main import group
from wirekey.config.policy import SHIPPED_POLICIES

SETTINGS = ("GET", "/api/claude_code/settings")
TELEMETRY = ("POST", "/api/event_logging/v2/batch")
ALLOWS_TELEMETRY = """
package wirekey.authz
default allow := false
allow if input.operation == "companion.telemetry"
"""


@pytest.fixture(params=["proxy", "gateway"])
def way(request):
    return request.param


@pytest.fixture
def behind(tmp_path, simulator):
    """A function that starts a Wirekey with a policy."""
    running = []

    def start(policy=SHIPPED_POLICIES, **facts):
        listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
        entered = wirekey_behind(tmp_path / "wirekey", simulator, listen=listen, policy={"path": str(policy)})
        running.append(entered)
        proxy = entered.__enter__()
        proxy.token = proxy.add_agent("alice", **facts)
        return proxy

    yield start
    for entered in running:
        entered.__exit__(None, None, None)


def call(proxy, way, method, path, **options):
    headers = {"x-api-key": proxy.token}
    if way == "gateway":
        return httpx.request(method, f"http://{proxy.running.gateway}{path}", headers=headers, **options)
    with httpx.Client(
        proxy=proxy.proxy_url("alice", proxy.token), verify=str(proxy.certs / "bundle.pem"), trust_env=False
    ) as client:
        return client.request(method, f"https://api.anthropic.com{path}", **options)


@pytest.mark.parametrize(("method", "path"), [SETTINGS, TELEMETRY])
def test_by_default_it_is_declined_with_404_and_not_sent(behind, simulator, way, method, path):
    proxy = behind()
    response = call(proxy, way, method, path, **({"content": b'{"events": []}' * 1000} if method == "POST" else {}))
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"
    event = proxy.finished_event()
    assert (event["outcome"], event["status"], event["agent_id"]) == ("declined", 404, "alice")
    assert event["operation"].startswith("companion.")
    assert simulator.seen == []


def test_a_check_of_the_network_with_head_gets_no_body(behind):
    proxy = behind()
    for _ in range(2):
        response = call(proxy, "proxy", "HEAD", "/")
        assert (response.status_code, response.content) == (404, b"")
    assert [event["operation"] for event in proxy.finished_events(2)] == ["companion.check"] * 2


def test_an_agent_that_may_only_read_is_declined_too(behind, way):
    proxy = behind(permissions=("web:read",))
    assert call(proxy, way, *TELEMETRY, content=b"{}").status_code == 404
    assert proxy.finished_event()["outcome"] == "declined"


def test_without_a_token_it_is_denied(behind):
    proxy = behind()
    response = httpx.get(f"http://{proxy.running.gateway}{SETTINGS[1]}")
    assert response.status_code == 401
    assert proxy.finished_event()["outcome"] == "denied"


def test_a_policy_can_allow_it(behind, simulator, tmp_path, way):
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "mine.rego").write_text(ALLOWS_TELEMETRY)
    proxy = behind(policies)
    assert call(proxy, way, *SETTINGS).status_code == 404
    call(proxy, way, *TELEMETRY, content=b'{"events": []}')
    (seen,) = simulator.seen
    assert (seen.target, seen.body) == (TELEMETRY[1], b'{"events": []}')
    assert dict(seen.headers)[b"x-api-key"].decode() == PROVIDER_KEYS["anthropic"]
    outcomes = [event["outcome"] for event in proxy.finished_events(2)]
    assert outcomes[0] == "declined"
    assert outcomes[1] != "declined"


def test_it_is_counted_apart_from_calls_and_denials(behind):
    proxy = behind()
    for _ in range(3):
        call(proxy, "gateway", *SETTINGS)
    proxy.finished_events(3)
    result = CliRunner().invoke(group, ["audit", "stats", "--json", "--config", str(proxy.folder / "wirekey.yaml")])
    assert result.exit_code == 0, result.output
    assert '"calls": 0' in result.output
    assert '"denied": 0' in result.output
    assert '"declined": 3' in result.output
    with sqlite3.connect(proxy.state / "audit.db") as database:
        assert database.execute("SELECT count(*) FROM calls WHERE outcome = 'denied'").fetchone() == (0,)
