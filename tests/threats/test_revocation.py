"""THREATS 2.9, R9 and R10: requests and streams of an agent that is revoked while they run."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.raw_client import CHAT, post
from tests.support.running import wait_for
from tests.support.stream_formats import FORMATS, RawWay, decoded

OPENAI = "api.openai.com"


def of_agent(stage, name: str, count: int) -> list[dict]:
    """Wait until `count` calls of an agent have an outcome, and return their events."""

    def ended():
        found = [event for event in stage.proxy.events() if event["agent_id"] == name and event["outcome"]]
        return found if len(found) >= count else None

    return wait_for(ended, f"{count} finished events of {name}")


def new_agent(stage, name: str) -> str:
    """Add an agent, and wait until Wirekey knows it: it looks for new ones a few times a second."""
    token = stage.proxy.add_agent(name)
    wait_for(lambda: connects(stage, name, token), f"{name} to be known")
    return token


def connects(stage, name: str, token: str) -> bool:
    with stage.client() as client:
        return client.connect(f"{OPENAI}:443", name, token).status == 200


def wait_until_out(stage, name: str, token: str) -> None:
    """Wait until Wirekey has seen the change: a new CONNECT with the token is refused."""
    wait_for(lambda: not connects(stage, name, token), f"{name} to be refused")


def revoke(agents, name: str, _token: str) -> None:
    agents.revoke(name)


def drop(agents, name: str, token: str) -> None:
    agents.drop_token(name, token)


def rotate(agents, name: str, _token: str) -> None:
    agents.rotate(name)


@pytest.mark.parametrize("by", ["tunnel", "key slot"])
@pytest.mark.parametrize("withdraw", [revoke, drop, rotate])
def test_R9_a_request_begun_before_its_agent_was_revoked_is_not_sent(stage, withdraw, by):
    name = f"r9-{withdraw.__name__}-{by.replace(' ', '-')}"
    token = new_agent(stage, name)
    with stage.client() as client:
        in_tunnel = (name, token) if by == "tunnel" else ("", "")
        assert client.connect(f"{OPENAI}:443", *in_tunnel).status == 200
        client.start_tls(stage.proxy.root, OPENAI)
        request = post(f"Authorization: Bearer {'sk-placeholder' if by == 'tunnel' else token}")
        client.send(request[:-10])
        withdraw(stage.proxy.agents, name, token)
        wait_until_out(stage, name, token)
        client.send(request[-10:])
        answer = client.read_response()
    assert answer.status == 401
    assert "revoked" in answer.message
    assert answer.json()["error"]["code"] == "identity_ended"
    assert stage.nothing_arrived()
    (event,) = of_agent(stage, name, 1)
    assert (event["outcome"], event["policy_result"], event["status"]) == ("denied", "deny", 401)
    assert (event["attempts"], event["upstream"]) == (0, None)


def test_R9_a_token_that_expires_before_the_request_is_complete_does_not_send_it(stage):
    new_agent(stage, "r9-short")
    lifetime = 2.0
    token = stage.proxy.agents.issue_token("r9-short", "short", lifetime)
    ends = time.monotonic() + lifetime
    wait_for(lambda: connects(stage, "r9-short", token), "the token to be known")
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:443", "r9-short", token).status == 200
        client.start_tls(stage.proxy.root, OPENAI)
        request = post()
        client.send(request[:-10])
        wait_for(lambda: time.monotonic() > ends, "the token to expire")
        client.send(request[-10:])
        answer = client.read_response()
    assert (answer.status, answer.json()["error"]["code"]) == (401, "identity_ended")
    assert stage.nothing_arrived()


def test_R9_permissions_are_checked_when_the_request_is_complete(stage):
    token = new_agent(stage, "r9-changed")
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:443", "r9-changed", token).status == 200
        client.start_tls(stage.proxy.root, OPENAI)
        request = post()
        client.send(request[:-10])
        take_permissions(stage, "r9-changed")
        wait_for(lambda: one_call(stage, "r9-changed", token) == 403, "the permissions to be taken")
        stage.simulator.forget()
        client.send(request[-10:])
        answer = client.read_response()
    assert (answer.status, answer.json()["error"]["code"]) == (403, "missing_permission")
    assert stage.nothing_arrived()


def take_permissions(stage, name: str) -> None:
    """Change the agents' file as another program may: put a changed copy in its place."""
    path = stage.proxy.agents.path
    content = json.loads(path.read_text())
    for agent in content["agents"]:
        if agent["id"] == name:
            agent["permissions"] = ["web:read"]
    changed = path.with_suffix(".changed")
    changed.write_text(json.dumps(content))
    changed.chmod(0o600)
    changed.replace(path)


def one_call(stage, name: str, token: str) -> int:
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:443", name, token).status == 200
        client.start_tls(stage.proxy.root, OPENAI)
        client.send(post())
        return client.read_response().status


@pytest.mark.parametrize("http2", [False, True], ids=["http/1.1", "http/2"])
def test_R10_streams_of_a_revoked_agent_end_with_the_providers_error(stage, http2):
    name = f"r10-{'h2' if http2 else 'h1'}"
    way = RawWay(stage.proxy.root, proxy=stage.proxy.proxy_url(name, new_agent(stage, name)), http2=http2)
    opened = {}
    for each, wanted in FORMATS.items():
        response = way.open(wanted, "gate")
        chunks = decoded(response.iter_raw(), response.headers)
        got = b""
        while not wanted.first_event(got):
            got += next(chunks)
        opened[each] = (response, chunks, got)
    stage.proxy.agents.revoke(name)
    revoked = time.monotonic()
    for each, (response, chunks, got) in opened.items():
        last = (got + b"".join(chunks))[len(got) :]
        assert b"agent was revoked" in last, each
        assert_error_of(FORMATS[each], got + last, last)
        response.close()
    assert time.monotonic() - revoked < 30
    events = of_agent(stage, name, len(FORMATS))
    assert {event["outcome"] for event in events} == {"interrupted"}
    assert {event["policy_reason"] for event in events} == {"agent_revoked"}
    wait_for(lambda: all(seen.outcome for seen in stage.simulator.seen), "the provider to be let go")


def assert_error_of(wanted, whole: bytes, last: bytes) -> None:
    if wanted.operation == "streamGenerateContent" and not wanted.is_sse:
        assert json.loads(whole)[-1]["error"]["status"] == "UNAUTHENTICATED"
    elif wanted.provider == "bedrock":
        assert b":exception-type" in last
    elif wanted.provider == "anthropic":
        assert b"event: error" in last
    else:
        assert b'"error"' in last


def test_R10_a_call_that_waits_for_its_provider_ends_too(stage):
    token = new_agent(stage, "r10-waiting")
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:443", "r10-waiting", token).status == 200
        client.start_tls(stage.proxy.root, OPENAI)
        client.send(post("X-Simulator: stall-after=0", body=CHAT))
        wait_for(lambda: stage.simulator.seen, "the request to arrive")
        stage.proxy.agents.revoke("r10-waiting")
        answer = client.read_response()
    assert (answer.status, answer.json()["error"]["code"]) == (401, "agent_revoked")
    (event,) = of_agent(stage, "r10-waiting", 1)
    assert (event["outcome"], event["policy_reason"]) == ("interrupted", "agent_revoked")


def test_R10_streams_of_other_agents_continue(stage):
    way = RawWay(stage.proxy.root, proxy=stage.proxy.proxy_url("alice", stage.alice))
    wanted = FORMATS["openai-chat"]
    token = new_agent(stage, "r10-other")
    response = way.open(wanted, "gate")
    chunks = response.iter_raw()
    got = next(chunks)
    stage.proxy.agents.revoke("r10-other")
    wait_until_out(stage, "r10-other", token)

    async def opened():
        stage.simulator.simulator.gate.open()

    stage.simulator.do(opened())
    got += b"".join(chunks)
    assert got.endswith(b"data: [DONE]\n\n")
    response.close()
