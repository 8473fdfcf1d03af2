"""THREATS 2.9, R20 and R21: an agent's token goes nowhere but into its own place, and is recorded nowhere."""

from __future__ import annotations

import base64
import json

import pytest

from tests.support.aws_signing import ask, signed
from tests.support.aws_signing import written as signed_as
from tests.support.raw_client import CHAT, post
from tests.support.running import wait_for

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6IndpcmVrZXkifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"


def percent(text: str) -> str:
    return "".join(f"%{ord(letter):02x}" for letter in text)


def forms(token: str) -> list[str]:
    """Return the forms in which a token could appear in what is recorded."""
    cores = [base64.b64encode(b"x" * shift + token.encode()).decode()[4:-4] for shift in range(3)]
    return [token, token[:20], token[-20:], percent(token), percent(token).upper().replace("WK", "wk"), *cores]


def written(stage) -> dict[str, bytes]:
    """All that the proxy has written, without what holds tokens as hashes only."""
    files = [stage.proxy.output, *(file for file in stage.proxy.state.rglob("*") if file.is_file())]
    return {str(file): file.read_bytes() for file in files}


def nothing_written(stage, *secrets: str) -> None:
    stage.proxy.finished_events(1, stage.began)
    for name, data in written(stage).items():
        assert not [form for secret in secrets for form in forms(secret) if form.encode() in data], name


PLACES = {
    "path": lambda token: post(path=f"/v1/models/{token}", method="GET", body=b""),
    "path, percent-encoded": lambda token: post(path=f"/v1/models/{percent(token)}", method="GET", body=b""),
    "path, half percent-encoded": lambda token: post(
        path=f"/v1/models/{token.replace('_', '%5F').replace('a', '%61')}", method="GET", body=b""
    ),
    "path of nothing": lambda token: post(path=f"/{token}/x", method="GET", body=b""),
    "model": lambda token: post(body=json.dumps({"model": token, "messages": []}).encode()),
    "long model": lambda token: post(body=json.dumps({"model": "m" * 240 + token, "messages": []}).encode()),
    "user agent": lambda token: post(f"User-Agent: {token}"),
    "query": lambda token: post(path=f"/v1/chat/completions?note={token}"),
    "header": lambda token: post(f"X-Note: {token}"),
    "method": lambda token: post(method=token.replace(".", "")),
    "host": lambda token: post(host=token),
    "traceparent": lambda token: post(f"traceparent: {token}"),
    "malformed": lambda token: f"POST /v1/{token} HTTP/9\r\n\r\n".encode(),
}


@pytest.fixture(scope="module")
def secret(running_stage) -> str:
    """The secret of bob's AWS pair, once the proxy knows it."""
    pair = running_stage.proxy.agents.pair("bob")
    found = pair.access_key, pair.secret.reveal()
    wait_for(lambda: ask(running_stage.proxy, signed_as(signed(running_stage.proxy, pair=found))).status == 200, "bob")
    return found[1]


@pytest.mark.parametrize("place", PLACES)
def test_R20_a_token_is_recorded_nowhere(stage, secret, place):
    for token in (stage.alice, JWT, *([] if place in ("host", "method", "malformed") else [secret])):
        stage.simulator.forget()
        answer = stage.ask(PLACES[place](token))
        # The answer may name what was asked for, but not with a token in it. An echo of a model is the provider's.
        if not stage.simulator.seen:
            assert token.encode() not in answer.body
    if place == "malformed":
        assert not [name for name, data in written(stage).items() if stage.alice.encode() in data]
    else:
        nothing_written(stage, stage.alice, JWT, secret)


@pytest.mark.parametrize("token", ["alice", JWT])
def test_R20_a_token_as_the_target_of_connect_is_recorded_nowhere(stage, token):
    token = stage.alice if token == "alice" else token
    with stage.client() as client:
        answer = client.connect(f"{token}:443", "alice", stage.alice)
        assert answer.status in (400, 403)
        assert token.encode() not in answer.body
    nothing_written(stage, token)


NOTES = {
    "X-Note": "{}",
    "Referer": "https://example.com/?token={}&x=1",
    "User-Agent": "program/1.0 ({})",
    "Origin-Note": "Bearer {}",
    "X-Basic": "BASE64",
    "X-Encoded": "PERCENT",
    "X-Stainless-Lang": "{}",
    "Idempotency-Key": "{}",
}


@pytest.mark.parametrize("which", ["token", "JWT"])
@pytest.mark.parametrize("name", NOTES)
def test_R21_a_token_in_another_header_does_not_reach_the_provider(stage, name, which):
    token = stage.alice if which == "token" else JWT
    value = NOTES[name].format(token)
    if value == "BASE64":
        value = "Basic " + base64.b64encode(f"alice:{token}".encode()).decode() if which == "token" else token
    value = value.replace("PERCENT", percent(token))
    assert stage.ask(post(f"{name}: {value}")).status == 200
    seen = stage.arrived()
    head = "\n".join(f"{n.decode()}: {v.decode()}" for n, v in seen.headers) + seen.target
    assert not [form for form in forms(token) if form in head]
    if "{}" in NOTES[name] and len(NOTES[name]) > 2:
        arrived = next(v.decode() for n, v in seen.headers if n.decode().lower() == name.lower())
        assert arrived == value.replace(token, "*" * len(token)), "only the token is masked"
    nothing_written(stage, token)


@pytest.mark.parametrize("target", ["?note={}", "?a=1&note=x{}&b=2", "?note=PERCENT", "?{}=1"])
def test_R21_a_token_in_the_query_does_not_reach_the_provider(stage, target):
    target = target.format(stage.alice).replace("PERCENT", percent(stage.alice))
    stage.ask(post(path=f"/v1/chat/completions{target}"))
    for seen in stage.simulator.seen:
        assert not [form for form in forms(stage.alice) if form in seen.target]
    nothing_written(stage, stage.alice)


def test_R21_a_header_whose_name_holds_a_token_does_not_reach_the_provider(stage):
    assert stage.ask(post(f"X-{stage.alice}: 1", f"{stage.alice}: 2")).status == 200
    assert stage.alice.lower() not in str(stage.arrived().headers).lower()


def test_R21_a_token_in_the_body_passes(stage):
    body = CHAT.replace(b"hello", stage.alice.encode())
    assert stage.ask(post(body=body)).status == 200
    assert stage.arrived().body == body
    nothing_written(stage, stage.alice)
