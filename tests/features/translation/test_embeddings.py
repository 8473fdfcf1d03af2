"""Embeddings between the formats: texts there, vectors back."""

import base64
import json
import struct

import pytest

from tests.features.translation.cases import STATES
from wirekey.core.errors import Refusal
from wirekey.features.translation.embeddings import VECTORS, translate_embeddings
from wirekey.features.translation.reply import Reply
from wirekey.features.translation.requests import Options

OPENAI, GEMINI, TITAN, COHERE = VECTORS
MODELS = {
    OPENAI: "text-embedding-3-small",
    GEMINI: "gemini-embedding-001",
    TITAN: "amazon.titan-embed-text-v2:0",
    COHERE: "cohere.embed-english-v3",
}
ANSWERS = {
    OPENAI: {"data": [{"embedding": [1.0, -2.5]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}},
    GEMINI: {"embeddings": [{"values": [1.0, -2.5]}]},
    TITAN: {"embedding": [1.0, -2.5], "inputTextTokenCount": 3},
    COHERE: {"embeddings": [[1.0, -2.5]], "id": "1", "response_type": "embeddings_floats"},
}
OPENAI_ASKED = {"model": "m", "input": "Hi"}
GEMINI_ASKED = {"content": {"parts": [{"text": "H"}, {"text": "i"}]}}


def translated(client, upstream, request, **options):
    model = options.pop("model", MODELS[upstream])
    body = json.dumps(request).encode()
    return translate_embeddings(VECTORS[client], VECTORS[upstream], model, body, Options(**options))


def answered(request, answer, status=200, headers=None):
    reply = Reply(request.context, request.conversation, STATES, 0, lambda: "")
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return request.respond(status, body, reply, headers)


@pytest.mark.parametrize(
    ("upstream", "path", "body"),
    [
        (
            GEMINI,
            "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            {"requests": [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "Hi"}]}}]},
        ),
        (TITAN, "/model/amazon.titan-embed-text-v2%3A0/invoke", {"inputText": "Hi"}),
        (
            COHERE,
            "/model/cohere.embed-english-v3/invoke",
            {"texts": ["Hi"], "input_type": "search_document"},
        ),
    ],
)
def test_a_request_of_openai_is_written_for_each_upstream(upstream, path, body):
    found = translated(OPENAI, upstream, OPENAI_ASKED)
    assert (found.path, json.loads(found.body)) == (path, body)
    assert found.label == f"openai.embeddings>{upstream}"


@pytest.mark.parametrize("upstream", [OPENAI, TITAN])
def test_the_parts_of_a_request_of_gemini_are_one_text(upstream):
    found = json.loads(translated(GEMINI, upstream, GEMINI_ASKED).body)
    assert found.get("input", found.get("inputText")) == "Hi"


def test_what_has_no_place_is_dropped_by_name():
    found = translated(OPENAI, GEMINI, {**OPENAI_ASKED, "user": "u"})
    assert found.context.losses.headers() == {"x-wirekey-dropped": "user"}
    found = translated(GEMINI, OPENAI, {**GEMINI_ASKED, "taskType": "T", "title": "t"})
    assert found.context.losses.headers() == {"x-wirekey-dropped": "taskType, title"}
    found = translated(OPENAI, COHERE, OPENAI_ASKED)
    assert found.context.losses.headers() == {"x-wirekey-adjusted": "input"}


def test_the_size_of_a_vector_is_asked_for():
    sized = {**OPENAI_ASKED, "dimensions": 256}
    gemini = json.loads(translated(OPENAI, GEMINI, sized).body)
    assert gemini["requests"][0]["outputDimensionality"] == 256
    assert json.loads(translated(OPENAI, TITAN, sized).body)["dimensions"] == 256
    newer = translated(OPENAI, COHERE, sized, model="cohere.embed-v4:0")
    assert json.loads(newer.body)["output_dimension"] == 256


@pytest.mark.parametrize(
    ("client", "upstream", "request_"),
    [
        (OPENAI, GEMINI, {"input": [1, 2]}),
        (OPENAI, GEMINI, {"input": [[1, 2]]}),
        (OPENAI, GEMINI, {}),
        (OPENAI, TITAN, {"input": ["a", "b"]}),
        (OPENAI, COHERE, {"input": ["a"] * 97}),
        (OPENAI, COHERE, {"input": "a", "dimensions": 256}),
        (OPENAI, GEMINI, {"input": "a", "surprise": 1}),
        (GEMINI, OPENAI, {"requests": []}),
        (GEMINI, OPENAI, {"content": {"parts": [{"inlineData": {}}]}}),
        (
            GEMINI,
            OPENAI,
            {"requests": [{**GEMINI_ASKED, "outputDimensionality": 1}, GEMINI_ASKED]},
        ),
    ],
)
def test_a_request_that_would_get_other_vectors_is_refused(client, upstream, request_):
    with pytest.raises(Refusal) as refused:
        translated(client, upstream, request_)
    assert refused.value.code == "cannot_translate"
    assert "surprise" not in refused.value.message


@pytest.mark.parametrize("upstream", [GEMINI, TITAN, COHERE])
def test_vectors_come_back_in_openais_format(upstream):
    request = translated(OPENAI, upstream, OPENAI_ASKED)
    found = answered(request, ANSWERS[upstream], headers={"x-amzn-bedrock-input-token-count": "3"})
    tokens = 0 if upstream == GEMINI else 3
    assert json.loads(found.body) == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [1.0, -2.5]}],
        "model": MODELS[upstream],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    assert ("usage" in request.context.losses.adjusted) == (upstream == GEMINI)


def test_vectors_are_packed_if_the_client_wants_base64():
    request = translated(OPENAI, GEMINI, {**OPENAI_ASKED, "encoding_format": "base64"})
    found = json.loads(answered(request, ANSWERS[GEMINI]).body)["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(found)) == (1.0, -2.5)


def test_the_digits_of_a_number_stay():
    request = translated(OPENAI, GEMINI, OPENAI_ASKED)
    found = answered(request, b'{"embeddings": [{"values": [1.10, 0.12345678901234567890]}]}')
    assert b"[1.10, 0.12345678901234567890]" in found.body


def test_gemini_gets_one_vector_or_a_list_as_it_asked():
    one = translated(GEMINI, OPENAI, GEMINI_ASKED)
    assert json.loads(answered(one, ANSWERS[OPENAI]).body) == {"embedding": {"values": [1.0, -2.5]}}
    many = translated(GEMINI, OPENAI, {"requests": [GEMINI_ASKED]})
    assert json.loads(answered(many, ANSWERS[OPENAI]).body) == {"embeddings": [{"values": [1.0, -2.5]}]}


@pytest.mark.parametrize("upstream", [GEMINI, TITAN, COHERE])
def test_an_error_or_an_unreadable_response_is_an_error_of_openai(upstream):
    request = translated(OPENAI, upstream, {**OPENAI_ASKED, "encoding_format": "base64"})
    assert answered(request, {"error": {"message": "no"}}, 404).status == 404
    for body in (b"", b"[]", b"{}", b'{"embeddings": [{"values": ["x"]}], "embedding": ["x"]}', b'{"embeddings": "x"}'):
        found = answered(request, body)
        assert found.status == 502
        assert json.loads(found.body)["error"]["code"] == "unreadable_answer"
