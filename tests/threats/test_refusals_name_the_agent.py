"""THREATS 2.9, R29: refusals by egress name the agent whose credentials came with the request."""

from __future__ import annotations

import base64

import pytest

from tests.support.raw_client import post
from tests.support.running import wirekey_behind
from tests.threats.conftest import OPENAI, Stage, beginning

CHAT_PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def denying(tmp_path_factory, running_stage):
    """A Wirekey that denies tunnels to hosts that are not a provider's."""
    folder = tmp_path_factory.mktemp("denying")
    with wirekey_behind(folder, running_stage.simulator, egress={"other_hosts": "deny"}) as proxy:
        yield Stage(running_stage.simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))


@pytest.fixture
def strict(denying) -> Stage:
    denying.simulator.forget()
    denying.began = beginning()
    return denying


def basic(name: str, token: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


def refused(stage, status: int, code: str, agent: str | None) -> None:
    event = stage.event()
    assert (event["outcome"], event["policy_result"], event["status"]) == ("denied", "deny", status)
    assert event["policy_reason"].partition(":")[0] == code
    assert event["agent_id"] == agent
    assert stage.nothing_arrived()


def test_R29_a_refused_host_is_recorded_with_its_agent(strict):
    with strict.client() as client:
        assert client.connect("example.com:443", "alice", strict.alice).status == 403
    refused(strict, 403, "host_refused", "alice")


@pytest.mark.parametrize("target", ["localhost:443", "127.0.0.1:443"])
def test_R29_a_refused_address_is_recorded_with_its_agent(stage, target):
    with stage.client() as client:
        assert client.connect(target, "alice", stage.alice).status == 403
    refused(stage, 403, "host_refused", "alice")


def test_R29_a_refused_port_is_recorded_with_its_agent(stage):
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:22", "alice", stage.alice).status == 403
    refused(stage, 403, "port_refused", "alice")


def test_R29_a_plain_request_to_another_host_is_recorded_with_its_agent(stage):
    with stage.client() as client:
        client.send(
            f"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n{basic('alice', stage.alice)}\r\n\r\n".encode()
        )
        assert client.read_response().status == 403
    refused(stage, 403, "host_refused", "alice")


@pytest.mark.parametrize("by", ["tunnel", "key slot"])
def test_R29_a_refused_websocket_is_recorded_with_its_agent(stage, by):
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    lines += ["Sec-WebSocket-Version: 13"]
    lines += [f"Authorization: Bearer {stage.alice}"] if by == "key slot" else []
    request = post(*lines, path="/v1/models", method="GET", body=b"", content_type=None)
    assert stage.ask(request, token=stage.alice if by == "tunnel" else "").status == 426
    refused(stage, 426, "websocket_refused", "alice")


def test_R29_names_that_differ_are_recorded_with_the_agent_of_the_key_slot(stage):
    request = post(f"Authorization: Bearer {stage.alice}", host="evil.example")
    assert stage.ask(request, token="").status == 421
    refused(stage, 421, "names_differ", "alice")


def test_R29_a_token_under_another_name_is_recorded_with_the_agent_that_it_proves(stage):
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:443", "bob", stage.alice).status == 407
    refused(stage, 407, "proxy_authentication_required", "alice")


def test_R29_a_wrong_token_is_recorded_without_an_agent(stage):
    with stage.client() as client:
        assert client.connect("example.com:443", "alice", "wk_" + "a" * 43).status == 407
    refused(stage, 407, "proxy_authentication_required", None)


def test_R29_the_challenge_alone_leaves_no_record(stage):
    """As git does: without credentials first, and with them once it was asked for them."""
    with stage.client() as client:
        answer = client.connect("example.com:443")
        assert (answer.status, "basic" in answer.headers["proxy-authenticate"].lower()) == (407, True)
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:8443", "alice", stage.alice).status == 403
    refused(stage, 403, "port_refused", "alice")
    ids = [event["id"] for event in stage.proxy.events() if event["id"] > stage.began]
    assert len(ids) == 1


def test_R29_a_client_without_credentials_is_rejected(strict):
    with strict.client() as client:
        assert client.connect("example.com:443").status == 407
    assert strict.nothing_arrived()
    strict.ask(post())
    assert strict.event()["path"] == CHAT_PATH
