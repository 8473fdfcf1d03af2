"""Paths that the provider does not document: denied by default, sent unread if a policy allows them."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.raw_client import RawClient
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind
from wirekey.config.policy import SHIPPED_POLICIES
from wirekey.core.call import new_call_id

POLICY = """
package wirekey.authz

default allow := false

allow if {
	input.kind == "other"
	input.path == "/v1/something/new"
}
"""
HOST = "api.openai.com"
BODY = b'{"model": "gpt-9", "model": "twice", not even JSON' * 2000


@pytest.fixture(scope="module")
def allowing(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "authz.rego").write_text(POLICY)
    configuration = behind(simulator) | {"policy": {"path": "policies"}}
    running = Wirekey(folder, configuration, environ=KEY_ENVIRONMENT)
    running.token = running.add_agent("alice")
    yield running
    running.stop()


def send(wirekey, method, path, *deliveries, length=None):
    """Send a request in several deliveries and return the response."""
    size = sum(map(len, deliveries)) if length is None else length
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n"
    with RawClient(wirekey.running.forward) as client:
        assert client.connect(f"{HOST}:443", "alice", wirekey.token).status == 200
        client.start_tls(wirekey.root, HOST)
        client.send(head.encode())
        for data in deliveries:
            client.send(data)
        return client.read_response()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_allowed_path_is_sent_unread_with_the_providers_key(allowing, simulator, method):
    began = new_call_id()
    response = send(allowing, method, "/v1/something/new?x=1", BODY[:1000], BODY[1000:50_000], BODY[50_000:])
    assert response.status == 404, response
    (seen,) = simulator.seen
    assert seen.sha256 == hashlib.sha256(BODY).hexdigest()
    assert ("authorization", f"Bearer {PROVIDER_KEYS['openai']}") in [
        (name.decode().lower(), value.decode()) for name, value in seen.headers
    ]
    event = allowing.finished_event(began)
    assert (event["operation"], event["policy_result"], event["credential"]) == ("other", "allow", "openai/1")
    assert event["status"] == 404
    for unread in ("requested_model", "message_count", "has_tools", "input_tokens"):
        assert event[unread] is None


def test_the_method_without_a_body_passes_too(allowing, simulator):
    assert send(allowing, "GET", "/v1/something/new").status == 404
    assert len(simulator.seen) == 1


@pytest.mark.parametrize("path", ["/v1/something/else", "/v1/chat/completions", "/v1/models"])
def test_another_path_stays_denied(allowing, simulator, path):
    assert send(allowing, "GET", path).status == 403
    assert simulator.seen == []


def test_the_default_policy_denies_it_to_everybody(proxy, simulator, tmp_path):
    configuration = behind(simulator) | {"policy": {"path": str(SHIPPED_POLICIES)}}
    running = Wirekey(tmp_path, configuration, environ=KEY_ENVIRONMENT)
    try:
        running.token = running.add_agent("alice", role="storage")
        assert send(running, "POST", "/v1/something/new", b"{}").status == 403
        assert running.finished_event()["operation"] == "other"
        assert simulator.seen == []
    finally:
        running.stop()
