"""Flows on mitmweb's page say what became of the call; their answers are shown where the operator keeps them."""

import json

import pytest

from tests.support.running import PROVIDER_KEYS, wait_for
from tests.support.stream_formats import FORMATS
from wirekey_simulator.mistral import FILLING
from wirekey_simulator.text import TEXT, UNICODE

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a question of alice"}]}
EMBEDDING = {"model": "text-embedding-3-small", "input": "a question of alice"}

ALLOWED = (
    "allow | alice | openai chat.completions | gpt-4o -> gpt-4o-mini | completed 200 | stop | "
    "31 input, 12 output | $0.000012"
)
DENIED = "deny | alice | openai embeddings | text-embedding-3-small | denied 403 | policy_denied"
"""Without the sentence of the policy, which may name what was asked for."""
FAILED = "allow | alice | openai chat.completions | gpt-4o -> gpt-4o-mini | upstream_error 500 | server_error"

VIEWS = {
    **dict.fromkeys(FORMATS, "Server-sent events"),
    "gemini-array": "JSON array stream",
    "bedrock-converse": "AWS event stream",
    "bedrock-invoke": "AWS event stream",
}


@pytest.fixture(autouse=True)
def fresh(request):
    for name in {"web", "keeping"} & set(request.fixturenames):
        request.getfixturevalue(name).api.clear()


def call(proxy, path="/v1/chat/completions", body=CHAT, behaviour="", provider="openai"):
    return proxy.way.call(provider, "POST", path, behaviour, json=body)


@pytest.mark.parametrize(
    ("path", "body", "behaviour", "marked", "says"),
    [
        (
            "/v1/chat/completions",
            CHAT,
            "input-tokens=31,tokens=12",
            "✅",
            ALLOWED,
        ),
        ("/v1/embeddings", EMBEDDING, "", "⛔", DENIED),
        ("/v1/chat/completions", CHAT, "fail=500", "❌", FAILED),
    ],
    ids=["allowed", "denied", "failed"],
)
def test_a_flow_is_marked_and_commented(web, path, body, behaviour, *, marked, says):
    call(web, path, body, behaviour)
    flow = web.api.only_flow()
    assert (flow["marked"], flow["comment"]) == (marked, says)


def test_a_stream_is_marked_while_it_runs_and_the_page_is_told(web):
    response = web.way.open(FORMATS["openai-chat"], "stall-after=2")
    pieces = response.iter_raw()
    next(pieces)
    assert [flow["marked"] for flow in web.api.flows()] == ["🌊"]
    response.close()
    flow = web.api.only_flow()
    assert (flow["marked"], "client_cancelled" in flow["comment"]) == ("👋", True)


def test_without_the_operators_word_no_answer_is_kept(web):
    for wanted in FORMATS.values():
        web.api.clear()
        assert web.way.stream(wanted).status == 200
        assert web.api.body(web.api.only_flow()) == b""


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("behaviour", ["", "unicode,split=7", "br"])
def test_the_view_of_a_kept_stream_is_its_text_and_its_events(keeping, name, behaviour):
    received = keeping.way.stream(FORMATS[name], behaviour)
    flow = keeping.api.only_flow()
    assert keeping.api.body(flow) == received.body
    shown = keeping.api.view(flow)
    assert shown["view_name"] == VIEWS[name]
    text = shown["text"].partition("\n\nEvents (")[0]
    usual = FILLING if name == "mistral-fim" else TEXT
    assert text == f"Text\n----\n{UNICODE if 'unicode' in behaviour else usual}"
    assert " 1  " in shown["text"]


def test_of_a_call_only_the_answer_is_kept_and_of_storage_not_even_that(keeping):
    received = call(keeping)
    flow = keeping.api.only_flow()
    assert json.loads(keeping.api.body(flow)) == received.json()
    assert keeping.api.body(flow, "request") == b""
    keeping.api.clear()
    keeping.way.call("openai", "GET", "/v1/files")
    assert keeping.api.body(keeping.api.only_flow()) == b""


@pytest.mark.parametrize("coding", ["", ",gzip", ",br"])
def test_an_error_that_quotes_the_key_is_kept_as_the_client_got_it(keeping, coding):
    received = call(keeping, behaviour=f"echo-key{coding}")
    kept = keeping.api.body(keeping.api.only_flow())
    assert kept == received.content
    assert b"****" in kept
    assert PROVIDER_KEYS["openai"].encode() not in kept


def test_of_a_long_answer_the_beginning_is_kept(keeping):
    received = call(keeping, behaviour="size=3000000")
    kept = keeping.api.body(keeping.api.only_flow())
    assert kept == received.content[: 1024 * 1024]
    assert len(received.content) > 3_000_000


def test_that_answers_are_kept_is_said_loudly(web, keeping):
    wait_for(lambda: "THE CONTENT OF RESPONSES IS KEPT" in keeping.output.read_text(), "the warning")
    assert "CONTENT OF RESPONSES" not in web.output.read_text()
