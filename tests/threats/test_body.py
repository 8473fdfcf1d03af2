"""THREATS 2.5: what was judged is what is sent."""

from __future__ import annotations

import gzip

import pytest

from tests.support.raw_client import CHAT, post
from tests.support.running import wait_for


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"allowed","model":"other","messages":[]}',
        b'{"model":"allowed","messages":[],"mod\\u0065l":"other"}',
        b'{"model":"m","messages":[],"stream":false,"stream":true}',
    ],
)
def test_B1_B2_a_repeated_key_is_refused(stage, body):
    stage.denied(post(body=body), 400)


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-gzip", "gzip, gzip", "bz2", "rot13", "deflate", "zstd"])
def test_B3_B4_B5_B6_B7_encoded_bodies(stage, encoding):
    event = stage.denied(post(f"Content-Encoding: {encoding}", body=gzip.compress(CHAT)), 415)
    assert event["policy_reason"].startswith("encoded_body")


@pytest.mark.parametrize(
    "body",
    [
        CHAT.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + CHAT,
        CHAT.replace(b"hello", b"\xff\xfe"),
        b'+AHs-"model":"x"+AH0-',
    ],
)
def test_B8_other_charsets(stage, body):
    stage.denied(post(body=body, content_type="application/json; charset=utf-8"), 400)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[],"max_tokens":NaN}',
        b'{"model":"m","messages":[],"max_tokens":1e999}',
        b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":["m"],"messages":[]}',
        b'{"model":"m","messages":{},"stream":"yes"}',
        b'["model"]',
        b"",
        b"{",
        b'{"model":"' + b"m" * 300 + b'","messages":[]}',
        b'{"model":"m\\u0000","messages":[]}',
    ],
)
def test_B9_invalid_json_is_refused(stage, body):
    stage.denied(post(body=body), 400)


def test_B12_a_model_after_a_long_body_is_still_checked(stage):
    body = b'{"messages":[{"role":"user","content":"' + b"x" * 500_000 + b'"}],"model":"gpt-4o-mini"}'
    assert stage.ask(post(body=body)).status == 200
    assert stage.event()["requested_model"] == "gpt-4o-mini"


def test_B13_an_incomplete_body_is_not_sent(stage):
    with stage.tunnel() as client:
        client.send(post(body=CHAT)[:-10])
    event = stage.event()
    assert event["outcome"] == "client_cancelled"
    assert stage.nothing_arrived()


def test_B14_tokens_in_a_prompt_do_no_harm(stage):
    text = f"my key is {stage.alice} and sk-placeholder and ${{OPENAI_API_KEY}}"
    body = CHAT.replace(b"hello", text.encode())
    assert stage.ask(post(body=body)).status == 200
    assert stage.arrived().body == body


def test_the_body_arrives_byte_for_byte(stage):
    body = b'{ "model" : "gpt-4o-mini",\r\n\t"messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}] , "x":1.0e2 }\n'
    assert stage.ask(post(body=body)).status == 200
    wait_for(lambda: stage.simulator.seen, "the request to arrive")
    assert stage.arrived().body == body
