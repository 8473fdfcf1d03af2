"""A label that a client writes into a header never changes a verified one: not in policies, quotas or the audit log."""

import json
import ssl

import httpx
import pytest

from tests.support.running import PATIENCE, Wirekey

POLICY = """
package wirekey.authz

deny contains "no team" if not input.labels.team

deny contains "an invalid label" if count(input.labels_invalid) > 0
"""
SETTINGS = {
    "listen": {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"},
    "identity": {"labels": {"headers": {"team": "x-team", "run": "x-run"}}},
    "policy": {"path": "policies"},
    "quotas": [
        {"name": "teams", "per": "label:team", "match": {"labels.team": "metered"}, "requests_per_minute": 1},
        {"name": "sessions", "per": "label:session", "match": {"agent": "free"}, "concurrent": 5},
    ],
}
TEAMS = {"alice": "search", "free": "free", "one": "metered", "two": "metered", "nobody": None}
REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "authz.rego").write_text(POLICY)
    running = Wirekey(folder, SETTINGS, "--simulator")
    running.tokens = {
        name: running.add_agent(name, labels={"team": team} if team else {}) for name, team in TEAMS.items()
    }
    yield running
    assert running.stop() == 0


def call(wirekey, agent, **headers):
    """Make a call. Return the response and its event."""
    before = [event["id"] for event in wirekey.events()]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"authorization": f"Bearer {wirekey.tokens[agent]}"}
    trusted = ssl.create_default_context(cafile=wirekey.certs / "bundle.pem")
    with httpx.Client(verify=trusted, trust_env=False, timeout=PATIENCE) as client:
        url = f"https://{wirekey.running.gateway}/v1/chat/completions"
        response = client.post(url, json=REQUEST, headers=named)
    return response, next(event for event in wirekey.finished_events(len(before) + 1) if event["id"] not in before)


def test_a_spoofed_header_does_not_change_a_verified_label(wirekey):
    response, event = call(wirekey, "alice", x_team="ads", x_claude_code_session_id="s1")
    assert response.status_code == 200, response.text
    assert json.loads(event["labels"]) == {"team": "search"}
    assert json.loads(event["labels_unverified"]) == {"session": "s1"}


def test_a_spoofed_header_is_no_verified_label_for_a_policy(wirekey):
    response, event = call(wirekey, "nobody", x_team="search")
    assert response.status_code == 403
    assert "no team" in response.text
    assert event["labels"] is None
    assert json.loads(event["labels_unverified"]) == {"team": "search"}


@pytest.mark.parametrize("value", ["two words", "x" * 65, "caf\u00e9".encode(), '{"a":1}'])
def test_a_policy_sees_that_a_label_was_invalid(wirekey, value):
    response, event = call(wirekey, "alice", x_run=value)
    assert response.status_code == 403
    assert "an invalid label" in response.text
    assert event["labels_invalid"] == '["run"]'
    assert event["labels_unverified"] is None


def test_agents_of_a_team_share_its_limit_and_no_header_leaves_it(wirekey):
    assert call(wirekey, "one")[0].status_code == 200
    response, _ = call(wirekey, "two", x_team="search")
    assert response.status_code == 429
    assert "label team metered" in response.text


def test_the_token_of_an_agent_in_a_label_is_not_recorded(wirekey):
    token = wirekey.tokens["free"]
    _, event = call(wirekey, "free", x_run=token, x_claude_code_session_id=f"a{token}")
    assert token not in json.dumps(event)
    assert json.loads(event["labels_invalid"]) == ["run", "session"]
