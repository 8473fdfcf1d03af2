"""THREATS 2.6: the identity of callers."""

from __future__ import annotations

import base64
import time

import pytest

from tests.support.raw_client import post
from tests.support.running import wait_for, wirekey_behind


def test_J4_a_revoked_agent_is_refused_within_two_seconds_even_in_an_open_tunnel(stage):
    token = stage.proxy.add_agent("carol")
    with stage.client() as client:
        assert client.connect("api.openai.com:443", "carol", token).status == 200
        client.start_tls(stage.proxy.root, "api.openai.com")
        client.send(post())
        assert client.read_response().status == 200
        stage.proxy.agents.revoke("carol")
        revoked = time.monotonic()

        def is_out():
            client.send(post())
            return client.read_response().status == 401

        wait_for(is_out, "carol to be refused", patience=10)
        assert time.monotonic() - revoked < 10
        stage.simulator.forget()
        client.send(post())
        answer = client.read_response()
    assert answer.status == 401
    assert "revoked" in answer.message
    assert stage.nothing_arrived()


def test_J5_two_tokens_that_disagree(stage):
    stage.denied(post(f"Authorization: Bearer {stage.bob}"), 401)


def test_J5_two_credentials_of_one_agent_are_accepted(stage):
    assert stage.ask(post(f"Authorization: Bearer {stage.alice}")).status == 200


def test_J6_an_identity_header_is_neither_trusted_nor_forwarded(stage):
    assert stage.ask(post("X-Agent-Id: root")).status == 200
    assert "x-agent-id" not in str(stage.arrived().headers).lower()
    assert stage.event()["agent_id"] == "alice"


@pytest.mark.parametrize(
    "value",
    [
        "Basic !!!",
        "Basic " + base64.b64encode(b"alice").decode(),
        "Basic " + base64.b64encode(b"alice:a:b").decode(),
        "Bearer",
        "Negotiate abc",
        "Basic " + "A" * 20000,
    ],
)
def test_J8_odd_proxy_credentials_are_407(stage, value):
    with stage.client() as client:
        answer = client.connect("api.openai.com:443", "", "", f"Proxy-Authorization: {value}")
        assert answer.status == 407
        assert "agents add" in answer.reason


def test_a_client_without_an_agent_gets_401_in_the_providers_shape(stage):
    answer = stage.ask(post(), token="")
    assert answer.status == 401
    assert answer.json()["error"]["type"]
    assert "wirekey agents add" in answer.message
    assert stage.nothing_arrived()
    event = stage.event()
    assert event["agent_id"] is None
    assert event["outcome"] == "denied"


@pytest.mark.parametrize(("host", "is_told"), [("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)])
def test_J7_a_listener_for_other_machines_warns_that_tokens_travel_unencrypted(tmp_path, stage, host, is_told):
    listen = {"forward": f"{host}:0", "gateway": None, "console": None}
    with wirekey_behind(tmp_path, stage.simulator, listen=listen) as proxy:
        wait_for(lambda: "Wirekey listens" in proxy.output.read_text(), "the welcome")
    # Only now: the log is written beside the welcome, and may come after it.
    assert ("travel there unencrypted" in proxy.output.read_text()) is is_told
