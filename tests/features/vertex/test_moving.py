"""Requests of other providers at Vertex AI: the path of the model there, and a body in another envelope."""

from __future__ import annotations

import json

import pytest

from wirekey.core.errors import Refusal
from wirekey.features.vertex.places import host_in, location_of
from wirekey.providers.registry import PROVIDERS

VERTEX = PROVIDERS["vertex"]
PLACE = "projects/-/locations/us-east5"
SONNET = "claude-sonnet-4-5@20250929"
GEMINI, LLAMA = "gemini-2.5-flash", "meta/llama-3.3-70b-instruct-maas"
CHAT, MESSAGES = ("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")
GOOGLES_CHAT = ("gemini", "/v1beta/openai/chat/completions")
COUNT = ("anthropic", "/v1/messages/count_tokens")
GENERATE = ("gemini", "/v1beta/models/asked:generateContent")
STREAM = ("gemini", "/v1beta/models/asked:streamGenerateContent?alt=sse")
COUNT_OF_GOOGLE = ("gemini", "/v1/models/asked:countTokens")
CONVERSE = ("bedrock", "/model/asked/converse")
RESPONSES, EMBEDDINGS = ("openai", "/v1/responses"), ("openai", "/v1/embeddings")


def operation_of(call):
    called, target = call
    return PROVIDERS[called].operations.match_operation("POST", target.partition("?")[0], {})


def moved(call, body, model, *, stream=False):
    target, found = VERTEX.formats.rewriting.receive(
        operation_of(call), call[1].encode(), body, "us-east5", model, stream=stream
    )
    return target.decode(), bytes(found)


@pytest.mark.parametrize(
    ("call", "model", "received"),
    [
        (CHAT, GEMINI, True),
        (CHAT, LLAMA, True),
        (CHAT, SONNET, False),
        (GOOGLES_CHAT, GEMINI, True),
        (MESSAGES, SONNET, True),
        (MESSAGES, GEMINI, False),
        (COUNT, SONNET, True),
        (GENERATE, GEMINI, True),
        (GENERATE, "google/gemini-2.5-pro", True),
        (GENERATE, LLAMA, False),
        (STREAM, SONNET, False),
        (COUNT_OF_GOOGLE, GEMINI, True),
        (CONVERSE, SONNET, False),
        (RESPONSES, GEMINI, False),
        (EMBEDDINGS, GEMINI, False),
    ],
)
def test_which_requests_keep_their_format(call, model, received):
    assert VERTEX.receives(operation_of(call), model) is received


@pytest.mark.parametrize(
    ("model", "form"),
    [(GEMINI, "gemini"), ("google/gemini-2.5-pro", "gemini"), (SONNET, "anthropic"), (LLAMA, "openai.chat")],
)
def test_the_format_of_the_others_is_that_of_the_maker(model, form):
    assert VERTEX.formats.default("converse", model) == form
    assert VERTEX.formats.answers(form, model)


@pytest.mark.parametrize(("stream", "action"), [(False, "rawPredict"), (True, "streamRawPredict")])
def test_a_message_has_its_model_in_the_path_and_the_version_in_the_body(stream, action):
    body = b'{"model": "asked", "messages": [1.10, "\\u0041"], "max_tokens":5}'
    target, found = moved(MESSAGES, body, SONNET, stream=stream)
    assert target == f"/v1/{PLACE}/publishers/anthropic/models/{SONNET}:{action}"
    assert b'"messages": [1.10, "\\u0041"], "max_tokens":5}' in found
    assert json.loads(found) == {
        "anthropic_version": "vertex-2023-10-16", "messages": [1.1, "A"], "max_tokens": 5
    }  # fmt: skip


def test_a_count_of_claude_keeps_its_model_in_the_body():
    target, found = moved(COUNT, b'{"model":"claude-haiku-4-5","messages":[]}', "claude-haiku-4-5")
    assert target == f"/v1/{PLACE}/publishers/anthropic/models/count-tokens:rawPredict"
    assert json.loads(found)["model"] == "claude-haiku-4-5"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"contents":[{"parts":[]}]}', b'{"contents":[{"role":"user","parts":[]}]}'),
        (b'{"contents":[{"role":null,"parts":[]}]}', b'{"contents":[{"role":"user","parts":[]}]}'),
        (b'{"contents":{"parts":[]}}', b'{"contents":{"role":"user","parts":[]}}'),
        (b'{"contents": [{"role" : "model"},\n {"role":"user"}]}', None),
        (b'{"cachedContent":"x"}', None),
    ],
    ids=["no role", "null", "one alone", "roles", "no contents"],
)
def test_each_content_of_gemini_has_a_role(body, expected):
    target, found = moved(STREAM, body, GEMINI, stream=True)
    assert target == f"/v1beta1/{PLACE}/publishers/google/models/{GEMINI}:streamGenerateContent?alt=sse"
    assert found == (expected or body)


@pytest.mark.parametrize("name", ["generateContentRequest", "generate_content_request"])
def test_a_count_of_gemini_has_no_request_inside(name):
    inner = {"model": "models/asked", "contents": [{"role": "user", "parts": []}], "tools": [1]}
    target, found = moved(COUNT_OF_GOOGLE, json.dumps({name: inner}).encode(), GEMINI)
    assert target == f"/v1beta1/{PLACE}/publishers/google/models/{GEMINI}:countTokens"
    assert json.loads(found) == {"contents": inner["contents"], "tools": [1]}


@pytest.mark.parametrize(("model", "name"), [(GEMINI, f"google/{GEMINI}"), (LLAMA, LLAMA)])
def test_a_chat_names_the_publisher_of_its_model(model, name):
    for call in (CHAT, GOOGLES_CHAT):
        target, found = moved(call, b'{"model": "asked", "messages":[]}', model)
        assert target == f"/v1/{PLACE}/endpoints/openapi/chat/completions"
        assert found == b'{"model": "%s", "messages":[]}' % name.encode()


@pytest.mark.parametrize("model", ["../x", "a b", "a:b", "", "gemini/../x"])
def test_a_name_that_cannot_stand_in_a_path_is_refused(model):
    with pytest.raises(Refusal):
        moved(GENERATE, b"{}", model)


@pytest.mark.parametrize(
    ("host", "location"),
    [
        *((host_in(name), name) for name in ("global", "us", "eu", "europe-west4")),
        ("api.openai.com", None),
        ("x-aiplatform.googleapis.com", None),
        ("us", None),
        ("", None),
    ],
)
def test_the_location_of_a_host(host, location):
    assert location_of(host) == location
    assert VERTEX.locations.location_of(host) == location
