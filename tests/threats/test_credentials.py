"""THREATS 2.2: the client's credentials never get through, ours get to the provider only."""

from __future__ import annotations

import pytest

from tests.support.raw_client import CHAT, RawClient, post
from tests.support.running import PROVIDER_KEYS, wirekey_behind
from wirekey.config.policy import SHIPPED_POLICIES
from wirekey.core.call import new_call_id

EVIL = "sk-evil-key-of-the-client-0c1d2e"
OURS = f"Bearer {PROVIDER_KEYS['openai']}"


def credentials_that_arrived(seen) -> list[str]:
    return [value.decode() for name, value in seen.headers if name.lower() == b"authorization"]


SPELLINGS = [
    f"Authorization: Bearer {EVIL}",
    f"AUTHORIZATION: Basic {EVIL}",
    f"x-api-key: {EVIL}",
    f"X_Api_Key: {EVIL}",
    f"api-key: {EVIL}",
    f"x-goog-api-key: {EVIL}",
    f"x_goog_api_key: {EVIL}",
    f"x.goog.api.key: {EVIL}",
    f"Cookie: session={EVIL}",
    f"X-Amz-Security-Token: {EVIL}",
    f"X-OpenAI-Key: {EVIL}",
    f"X-AWS-Secret-Key: {EVIL}",
    f"Proxy-Authorization: Basic {EVIL}",
    f"Authentication: Bearer {EVIL}",
    f"Sec-WebSocket-Protocol: {EVIL}",
    f"sec-websocket-protocol: realtime, openai-insecure-api-key.{EVIL}",
    f"Sec_WebSocket_Protocol: {EVIL}",
]


@pytest.mark.parametrize("line", SPELLINGS)
def test_C1_C2_C3_the_clients_own_key_never_arrives(stage, line):
    assert stage.ask(post(line)).status == 200
    seen = stage.arrived()
    assert EVIL not in str(seen.headers)
    assert credentials_that_arrived(seen) == [OURS]


@pytest.mark.parametrize("query", ["key", "api_key", "access_token", "%6bey", "k%65y", "KEY", "X-Amz-Signature"])
def test_C2_the_clients_own_key_in_the_query_never_arrives(stage, query):
    request = post(
        path=f"/v1beta/models/gemini-2.5-flash:generateContent?{query}={EVIL}&alt=json",
        host="generativelanguage.googleapis.com",
        body=b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}',
    )
    stage.ask(request, host="generativelanguage.googleapis.com")
    seen = stage.arrived()
    assert EVIL not in seen.target
    assert "alt=json" in seen.target
    assert [v.decode() for n, v in seen.headers if n.lower() == b"x-goog-api-key"] == [PROVIDER_KEYS["gemini"]]


def test_C4_two_authorizations_become_one(stage):
    assert stage.ask(post("Authorization: Bearer placeholder", f"Authorization: Bearer {EVIL}")).status == 200
    assert credentials_that_arrived(stage.arrived()) == [OURS]


@pytest.mark.parametrize("named", ["authorization", "Authorization, x-api-key", "close, AUTHORIZATION"])
def test_C5_a_connection_header_cannot_remove_the_credential(stage, named):
    assert stage.ask(post(f"Connection: {named}")).status == 200
    seen = stage.arrived()
    assert credentials_that_arrived(seen) == [OURS]
    assert not any(b"authorization" in value.lower() for name, value in seen.headers if name.lower() == b"connection")


def test_C6_trace_is_refused(stage):
    stage.denied(post(method="TRACE", body=b""), 405)


def test_C6_an_error_that_quotes_the_key_does_not_show_it(stage):
    answer = stage.ask(post("x-simulator: echo-key"))
    assert answer.status >= 400
    assert PROVIDER_KEYS["openai"].encode() not in answer.body
    assert PROVIDER_KEYS["openai"] not in str(answer.headers)


def test_C8_plain_http_gets_no_key(stage):
    with stage.client() as client:
        client.send(
            b"POST http://api.openai.com/v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (stage.alice.encode(), len(CHAT)) + CHAT
        )
        assert client.read_response().status == 403
    assert stage.nothing_arrived()


@pytest.fixture(scope="module")
def by_default(tmp_path_factory, running_stage):
    """A Wirekey with the default policy, and an agent with every role that it names."""
    policy = {"path": str(SHIPPED_POLICIES)}
    simulator = running_stage.simulator
    with wirekey_behind(tmp_path_factory.mktemp("default"), simulator, policy=policy) as running:
        running.token = running.add_agent("carol", role="storage")
        yield running


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/v1/organization/admin_api_keys", "organization.admin_api_keys.list"),
        ("POST", "/v1/organization/admin_api_keys", "organization.admin_api_keys.create"),
        ("GET", "/v1/organization/users", "organization.users.list"),
        ("POST", "/v1/realtime/client_secrets", "realtime.client_secrets.create"),
        ("GET", "/v1/organization/api_keys", "other"),
        ("GET", "/headers", "other"),
        ("GET", "/v1/fine_tuning/jobs/../../organization/users", None),
    ],
)
def test_C10_administration_and_undocumented_paths_are_denied(by_default, stage, method, path, operation):
    began = new_call_id()
    with RawClient(by_default.running.forward) as client:
        assert client.connect("api.openai.com:443", "carol", by_default.token).status == 200
        client.start_tls(by_default.root, "api.openai.com")
        client.send(post(method=method, path=path, body=b"{}"))
        assert client.read_response().status == (403 if operation else 404)
    assert stage.nothing_arrived()
    event = by_default.finished_event(began)
    assert event["operation"] == operation
    assert event["policy_reason"].startswith("policy_denied" if operation else "unknown_operation")


def test_C11_other_services_under_amazonaws_are_not_decrypted(stage):
    with stage.client() as client:
        answer = client.connect("sts.us-east-1.amazonaws.com:443", "alice", stage.alice)
        assert answer.status == 200
    assert stage.nothing_arrived()


@pytest.mark.parametrize("token", ["wk_" + "a" * 43, "wk_", "sk-guess"])
def test_C12_a_guessed_token_identifies_no_agent(stage, token):
    with stage.client() as client:
        assert client.connect("api.openai.com:443", "alice", token).status == 407


def test_C12_a_token_is_valid_only_for_its_own_agent(stage):
    with stage.client() as client:
        assert client.connect("api.openai.com:443", "bob", stage.alice).status == 407


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE"])
def test_C16_a_method_override_does_not_arrive(stage, header):
    stage.ask(post(header))
    assert "override" not in str(stage.arrived().headers).lower()


@pytest.mark.parametrize("header", ["OpenAI-Organization: org-evil", "OpenAI-Project: p", "x-goog-user-project: evil"])
def test_C17_the_client_cannot_choose_who_pays(stage, header):
    stage.ask(post(header))
    assert header.partition(": ")[2].encode() not in [value for _, value in stage.arrived().headers]
