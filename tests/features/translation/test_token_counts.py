"""Counts of tokens between the formats: the request is translated as the one that it counts."""

import json

import pytest

from tests.features.translation.cases import MODELS, PLAIN, STATES
from wirekey.core.errors import Refusal
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.reply import Reply
from wirekey.features.translation.requests import Options
from wirekey.features.translation.token_counts import translate_count

TOOLS = {
    "openai.responses": {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]},
    "gemini": {"tools": [{"functionDeclarations": [{"name": "f"}]}]},
    "anthropic": {"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
    "converse": {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}]}},
}
SAMPLING = {
    "openai.responses": {"temperature": 1.5, "max_output_tokens": 5, "store": True, "user": "somebody"},
    "gemini": {"generationConfig": {"temperature": 1.5, "seed": 1, "maxOutputTokens": 5}},
    "anthropic": {"temperature": 0.5, "stop_sequences": ["x"]},
    "converse": {"inferenceConfig": {"temperature": 0.5, "stopSequences": ["x"]}},
}
CLIENTS = list(TOOLS)
PATHS = {
    "openai.responses": "/v1/responses/input_tokens",
    "gemini": "/v1beta/models/gemini-2.5-flash:countTokens",
    "anthropic": "/v1/messages/count_tokens",
    "converse": "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens",
}
ANSWERS = {
    "openai.responses": {"object": "response.input_tokens", "input_tokens": 7},
    "gemini": {"totalTokens": 7},
    "anthropic": {"input_tokens": 7},
    "converse": {"inputTokens": 7},
}
PAIRS = [(client, upstream) for client in CLIENTS for upstream in CLIENTS if client != upstream]


def counted(client, upstream, request, **options):
    request = {"input": {"converse": request}} if client == "converse" else request
    body = json.dumps(request).encode()
    return translate_count(FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES, Options(**options))


def asked(client):
    request = {**PLAIN[client], **TOOLS[client], **SAMPLING[client]}
    request.pop("max_tokens", None)
    return request


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_count_has_the_conversation_and_the_tools_and_nothing_else(client, upstream):
    found = counted(client, upstream, asked(client), strict=True)
    assert (found.path, found.query) == (PATHS[upstream], "")
    text = found.body.decode()
    assert '"Hi"' in text
    assert '"f"' in text
    for absent in ("emperature", "max", "store", "somebody", "stop", "seed", "stream"):
        assert absent not in text
    assert found.context.losses.headers() == {}


def test_a_count_of_gemini_names_its_model():
    request = json.loads(counted("anthropic", "gemini", asked("anthropic")).body)["generateContentRequest"]
    assert request["model"] == "models/gemini-2.5-flash"


def test_invoke_counts_as_converse_does():
    found = counted("anthropic", "invoke", asked("anthropic"))
    assert found.path == PATHS["converse"]
    assert json.loads(found.body)["input"]["converse"]["messages"] == [{"role": "user", "content": [{"text": "Hi"}]}]


def test_the_request_of_gemini_may_be_inside_another_object():
    inner = {"model": "models/x", **PLAIN["gemini"]}
    assert counted("gemini", "anthropic", {"generateContentRequest": inner}).body == (
        counted("gemini", "anthropic", PLAIN["gemini"]).body
    )


def test_a_count_of_another_model_of_bedrock_is_refused():
    body = json.dumps({"input": {"invokeModel": {"body": "e30="}}}).encode()
    with pytest.raises(Refusal, match=r"input\.converse"):
        translate_count(FORMATS["converse"], FORMATS["gemini"], MODELS["gemini"], body, STATES, Options())


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_the_number_comes_back_in_the_format_of_the_client(client, upstream):
    request = counted(client, upstream, asked(client))
    reply = Reply(request.context, request.conversation, STATES, 0, lambda: "")
    found = request.respond(200, json.dumps(ANSWERS[upstream]).encode(), reply, None)
    assert (found.status, json.loads(found.body)) == (200, ANSWERS[client])
    refused = request.respond(429, b'{"error": {"message": "slow"}}', reply, {"retry-after": "3"})
    assert (refused.status, refused.headers["retry-after"]) == (429, "3")
    for unreadable in (b"", b"[]", b"{}", b"[" * 100_000, b'{"totalTokens": "many", "input_tokens": null}'):
        assert request.respond(200, unreadable, reply, None).status in {500, 502}
