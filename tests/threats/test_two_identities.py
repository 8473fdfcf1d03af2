"""THREATS 2.9, R26: one request that presents two identities."""

from __future__ import annotations

import base64

import pytest

from tests.support.aws_signing import BODY, HOST, signed, signing_wirekey, simulator, written
from tests.support.raw_client import RawClient, post
from tests.support.running import wait_for
from tests.support.signed_requests import presigned
from tests.threats.conftest import beginning

__all__ = ["simulator"]

OPENAI = "api.openai.com"
CATALOGUE = "bedrock.us-east-1.amazonaws.com"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    with signing_wirekey(tmp_path_factory.mktemp("wirekey"), simulator) as running:
        running.bob = running.agents.rotate("bob")
        running.bobs_pair = running.agents.pair("bob")
        yield running


@pytest.fixture(autouse=True)
def began(simulator, proxy):
    with RawClient(proxy.running.forward) as client:
        wait_for(lambda: client.connect(f"{OPENAI}:443", "bob", proxy.bob).status == 200, "bob to be known")
    simulator.forget()
    proxy.began = beginning()


def basic(name: str, token: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


def ask(proxy, request: bytes, host: str, tunnel: tuple[str, str] = ("", "")):
    with RawClient(proxy.running.forward) as client:
        assert client.connect(f"{host}:443", *tunnel).status == 200
        client.start_tls(proxy.root, host)
        client.send(request)
        return client.read_response()


def of(proxy, name: str) -> str:
    return proxy.token if name == "alice" else proxy.bob


def with_signature(proxy, *lines: str) -> bytes:
    """A request to Bedrock that alice's pair signs in a header, and more headers that are not signed."""
    return written(signed(proxy), BODY, *lines)


def with_presigned(proxy, *lines: str) -> bytes:
    """The same, signed in the query."""
    head = signed(proxy, "/foundation-models?byProvider=amazon", sign=presigned, host=CATALOGUE)
    return written(head, b"", *lines)


BEDROCK_CASES = {
    "a bearer token beside a signature in the header": (
        lambda proxy, name: with_signature(proxy, f"Authorization: Bearer {of(proxy, name)}"),
        False,
    ),
    "a bearer token beside a signature in the query": (
        lambda proxy, name: with_presigned(proxy, f"Authorization: Bearer {of(proxy, name)}"),
        False,
    ),
    "a key slot beside a signature": (
        lambda proxy, name: with_signature(proxy, f"x-api-key: {of(proxy, name)}"),
        False,
    ),
    "proxy credentials in the request beside a signature": (
        lambda proxy, name: with_signature(proxy, basic(name, of(proxy, name))),
        False,
    ),
    "the proxy URL beside a signature": (lambda proxy, _: with_signature(proxy), True),
}


@pytest.mark.parametrize("name", ["alice", "bob"])
@pytest.mark.parametrize("case", BEDROCK_CASES)
def test_R26_a_signature_and_a_token_must_belong_to_one_agent(proxy, simulator, case, name):
    request, in_tunnel = BEDROCK_CASES[case]
    tunnel = (name, of(proxy, name)) if in_tunnel else ("", "")
    answer = ask(proxy, request(proxy, name), CATALOGUE if "query" in case else HOST, tunnel)
    event = proxy.finished_event(proxy.began)
    if name == "alice":
        assert answer.status == 200, answer
        assert (event["outcome"], event["agent_id"]) == ("completed", "alice")
        assert len(simulator.seen) == 1
    else:
        assert answer.status == 401, answer
        assert "two different agents" in answer.message
        assert (event["outcome"], event["policy_reason"].partition(":")[0]) == ("denied", "agents_disagree")
        assert not simulator.seen


SLOTS = {
    "Authorization": lambda token: f"Authorization: Bearer {token}",
    "x-api-key": lambda token: f"x-api-key: {token}",
    "api-key": lambda token: f"api-key: {token}",
    "x-goog-api-key": lambda token: f"x-goog-api-key: {token}",
}


@pytest.mark.parametrize("name", ["alice", "bob"])
@pytest.mark.parametrize("slot", [*SLOTS, "?key="])
@pytest.mark.parametrize("first", ["tunnel", "key slot", "proxy credentials in the request"])
def test_R26_two_tokens_must_belong_to_one_agent(proxy, simulator, first, slot, name):
    alice, path = proxy.token, "/v1/chat/completions"
    lines, tunnel = [], ("", "")
    if first == "tunnel":
        tunnel = ("alice", alice)
    elif first == "key slot":
        lines.append(SLOTS["x-api-key" if slot == "Authorization" else "Authorization"](alice))
    else:
        lines.append(basic("alice", alice))
    if slot == "?key=":
        path += f"?key={of(proxy, name)}"
    else:
        lines.append(SLOTS[slot](of(proxy, name)))
    answer = ask(proxy, post(*lines, path=path), OPENAI, tunnel)
    event = proxy.finished_event(proxy.began)
    if name == "alice":
        assert (answer.status, event["outcome"], event["agent_id"]) == (200, "completed", "alice")
    else:
        assert (answer.status, answer.json()["error"]["code"]) == (401, "agents_disagree")
        assert event["outcome"] == "denied"
        assert not simulator.seen


@pytest.mark.parametrize(
    "lines",
    [
        lambda proxy: [f"Authorization: {credential(proxy.bobs_pair.access_key)}"],
        lambda proxy: [f"Authorization: {credential('WKEY' + 'A' * 16)}"],
        lambda proxy: [basic("bob", proxy.token)],
    ],
    ids=["a signature of bob's", "a signature of nobody's pair", "alice's token under bob's name"],
)
def test_R26_a_signature_to_a_provider_that_uses_none_is_an_identity_too(proxy, simulator, lines):
    answer = ask(proxy, post(*lines(proxy)), OPENAI, ("alice", proxy.token))
    assert answer.status in (401, 403)
    assert answer.json()["error"]["code"] in ("agents_disagree", "unknown_pair")
    assert not simulator.seen
    assert proxy.finished_event(proxy.began)["outcome"] == "denied"


def credential(access_key: str) -> str:
    scope = f"{access_key}/20260101/us-east-1/bedrock/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"


def test_R26_an_unreadable_signature_that_names_an_agents_pair_is_not_ignored(proxy, simulator):
    request = with_signature(proxy, f"Authorization: {credential(proxy.bobs_pair.access_key)}")
    answer = ask(proxy, request, HOST, ("bob", proxy.bob))
    assert answer.status == 403
    assert not simulator.seen
    assert proxy.finished_event(proxy.began)["outcome"] == "denied"


def test_R26_a_signature_of_the_users_own_account_is_no_identity(proxy, simulator):
    request = post(f"Authorization: {credential('AKIAOFTHEUSERHIMSELF')}")
    assert ask(proxy, request, OPENAI, ("alice", proxy.token)).status == 200
    assert len(simulator.seen) == 1
