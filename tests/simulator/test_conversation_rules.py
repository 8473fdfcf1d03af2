"""The simulator refuses the conversations that the providers refuse, and says why."""

import copy
import json

import pytest

from tests.simulator.requests import request
from wirekey_simulator import anthropic as anthropic_provider
from wirekey_simulator import bedrock, gemini, openai
from wirekey_simulator.behaviour import PLAIN
from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.signatures import signature
from wirekey_simulator.state import State

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
PNG = "iVBORw0KGgo="
CALLS = ("one", "two")


def chat_call(call):
    return {"id": call, "type": "function", "function": {"name": "f", "arguments": "{}"}}


BODIES = {
    "chat": {
        "model": "gpt-4o",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"},
                                         {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]},
            {"role": "assistant", "content": None, "tool_calls": [chat_call(call) for call in CALLS]},
            *({"role": "tool", "tool_call_id": call, "content": "1"} for call in CALLS),
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    },
    "responses": {
        "model": "gpt-5",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "reasoning", "summary": [], "encrypted_content": signature("openai", "")},
            *({"type": "function_call", "call_id": call, "name": "f", "arguments": "{}"} for call in CALLS),
            *({"type": "function_call_output", "call_id": call, "output": "1"} for call in CALLS),
        ],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}],
    },
    "anthropic": {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "Hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": signature("claude", "hm")},
                *({"type": "tool_use", "id": call, "name": "f", "input": {}} for call in CALLS),
            ]},
            {"role": "user", "content": [
                *({"type": "tool_result", "tool_use_id": call, "content": "1"} for call in CALLS),
                {"type": "text", "text": "Go on"},
            ]},
        ],
        "tools": [{"name": "f", "input_schema": SCHEMA}],
    },
    "gemini": {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
            {"role": "model", "parts": [
                {"functionCall": {"name": "f", "args": {}},
                 "thoughtSignature": signature("gemini", {"name": "f", "args": {}})},
                {"functionCall": {"name": "g", "args": {}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": name, "response": {"output": "1"}}} for name in ("f", "g")
            ]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}, {"name": "g"}]}],
        "generationConfig": {"maxOutputTokens": 100},
    },
    "converse": {
        "messages": [
            {"role": "user", "content": [{"text": "Hi"}, {"image": {"format": "png", "source": {"bytes": PNG}}}]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": signature("claude", "hm")}}},
                *({"toolUse": {"toolUseId": call, "name": "f", "input": {}}} for call in CALLS),
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": call, "content": [{"text": "1"}]}} for call in CALLS
            ]},
        ],
        "inferenceConfig": {"maxTokens": 4000},
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}]},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    },
}  # fmt: skip
PATHS = {
    "chat": (openai, "/v1/chat/completions"),
    "responses": (openai, "/v1/responses"),
    "anthropic": (anthropic_provider, "/v1/messages"),
    "gemini": (gemini, "/v1beta/models/gemini-3-pro-preview:generateContent"),
    "converse": (bedrock, "/model/us.anthropic.claude-sonnet-4-5-v1%3A0/converse"),
}
GONE = "(gone)"
REFUSED = [
    ("chat", "messages.3", GONE, "did not have response messages: two"),
    ("chat", "messages.1", GONE, "must be a response to a preceeding message"),
    ("chat", "messages.2.tool_call_id", "three", "'three' not found"),
    ("chat", "messages.2.content", GONE, "messages[2].content"),
    ("chat", "messages.1.tool_calls", [], "got null"),
    ("chat", "messages.1.tool_calls", GONE, "got null"),
    ("chat", "messages.1.tool_calls.0.id", "x" * 41, "maximum length 40"),
    ("chat", "messages.1.tool_calls.0.type", GONE, "type"),
    ("chat", "messages.1.tool_calls.0.function.arguments", {}, "arguments"),
    ("chat", "messages.1.tool_calls.0.function.name", "a b", "does not match pattern"),
    ("chat", "messages.0.role", "model", "Supported values"),
    ("chat", "messages.0.content.0.type", "input_text", "Supported values"),
    ("chat", "messages.0.content.1.image_url.url", "data:image/png;base64,!", "Invalid base64"),
    ("chat", "messages.0.content.1.image_url.url", f"data:image/tiff;base64,{PNG}", "unsupported image"),
    ("chat", "messages.0.content.1.image_url.url", "gs://a/b", "valid URL"),
    ("chat", "tools", [], "empty array"),
    ("chat", "tool_choice", {"type": "function", "function": {"name": "h"}}, "not found in 'tools'"),
    ("chat", "tools.0.function.strict", True, "additionalProperties"),
    ("chat", "reasoning_effort", "low", "not supported with this model"),
    ("chat", "stop", ["1", "2", "3", "4", "5"], "maximum length 4"),
    ("chat", "response_format", {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}, "pattern"),
    ("responses", "input.4", GONE, "No tool output found for function call one"),
    ("responses", "input.2", GONE, "No tool call found for function call output with call_id one"),
    ("responses", "input.1.encrypted_content", "made up", "could not be verified"),
    ("responses", "input.2.call_id", "x" * 65, "maximum length 64"),
    ("responses", "input.2.name", "a.b", "pattern"),
    ("responses", "input.2.arguments", {}, "arguments"),
    ("responses", "input.0.content.0.type", "output_text", "Supported values"),
    ("responses", "input.0.role", "assistant", "Supported values"),
    ("responses", "tools.0.strict", True, "additionalProperties"),
    ("responses", "temperature", 0.5, "not supported with this model"),
    ("responses", "max_output_tokens", 15, "below minimum"),
    ("anthropic", "messages.2.content.0", GONE, "`tool_use` ids were found without `tool_result` blocks"),
    ("anthropic", "messages.2.content.0.tool_use_id", "three", "unexpected `tool_use_id`"),
    ("anthropic", "messages.2.content.2.text", "", "non-empty"),
    ("anthropic", "messages.2.content.2.text", " ", "non-whitespace"),
    ("anthropic", "messages.1.content.0", GONE, "Expected `thinking`"),
    ("anthropic", "messages.1.content.0.signature", "made up", "Invalid `signature`"),
    ("anthropic", "messages.1.content.0.signature", "", "Field required"),
    ("anthropic", "messages.1.content.0.thinking", "edited", "Invalid `signature`"),
    ("anthropic", "messages.1.content.1.id", "a.b", "should match pattern"),
    ("anthropic", "messages.1.content.1.id", "two", "unique"),
    ("anthropic", "messages.1.content.1.input", "{}", "valid dictionary"),
    ("anthropic", "messages.1.content.1.name", "a b", "should match pattern"),
    ("anthropic", "messages.0", GONE, "first message"),
    ("anthropic", "messages.0.content", [], "non-empty content"),
    ("anthropic", "messages.0.content.1.source.media_type", "image/tiff", "image/jpeg"),
    ("anthropic", "messages.0.content.1.source.data", "!", "base64"),
    ("anthropic", "tools", GONE, "must define tools"),
    ("anthropic", "tools.0.input_schema.type", GONE, "input_schema.type"),
    ("anthropic", "tool_choice", {"type": "any"}, "forces tool use"),
    ("anthropic", "tool_choice", {"type": "tool", "name": "g"}, "not found"),
    ("anthropic", "thinking.budget_tokens", 1023, "1024"),
    ("anthropic", "thinking.budget_tokens", 4000, "greater than"),
    ("anthropic", "temperature", 0.5, "only be set to 1"),
    ("anthropic", "temperature", 1.5, "range"),
    ("anthropic", "top_k", 3, "top_k"),
    ("anthropic", "stop_sequences", [" "], "whitespace"),
    ("gemini", "contents.1", GONE, "comes immediately after a function call turn"),
    ("gemini", "contents.2.parts.0", GONE, "number of function response parts"),
    ("gemini", "contents.2.parts.0.functionResponse.name", "h", "number of function response parts"),
    ("gemini", "contents.2.parts.0.functionResponse.response", GONE, "response: is required"),
    ("gemini", "contents.2.parts.2", {"text": "x"}, "no other parts"),
    ("gemini", "contents.1.parts.0.thoughtSignature", GONE, "missing a thought_signature"),
    ("gemini", "contents.1.parts.0.thoughtSignature", "bWFkZSB1cA==", "not valid"),
    ("gemini", "contents.1.parts.0.functionCall.args", "{}", "Struct"),
    ("gemini", "contents.1.parts.0.functionCall.name", "0", "Invalid function name"),
    ("gemini", "contents.0.parts.1.inlineData.mimeType", GONE, "mime_type"),
    ("gemini", "contents.0.parts.1.inlineData.data", "!", "Base64"),
    ("gemini", "contents.0.parts.0", {}, "oneof"),
    ("gemini", "contents.0.parts", [], "must not be empty"),
    ("gemini", "toolConfig", {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}}, "mode ANY"),
    ("gemini", "toolConfig", {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["h"]}}, "not among"),
    ("gemini", "generationConfig.responseJsonSchema", SCHEMA, "response_mime_type"),
    ("gemini", "generationConfig.thinkingConfig", {"thinkingLevel": "low", "thinkingBudget": 1}, "only one of"),
    ("gemini", "generationConfig.stopSequences", list("abcdef"), "at most 5"),
    (
        "converse",
        "messages.2.content.0",
        GONE,
        "Expected toolResult blocks at messages.2.content for the following Ids: one",
    ),
    ("converse", "messages.1", GONE, "must alternate"),
    ("converse", "messages.0", GONE, "start with a user message"),
    ("converse", "messages.0.content", [], "empty"),
    ("converse", "messages.0.content.0.text", " ", "blank"),
    ("converse", "messages.0.content.0", {"text": "a", "image": {}}, "one and only one"),
    ("converse", "messages.0.content.0", {"nothing": {}}, "one and only one"),
    ("converse", "messages.0.content.1.image.format", "jpg", "format"),
    ("converse", "messages.0.content.1.image.source.bytes", "!", "base64"),
    ("converse", "messages.1.content.0.reasoningContent.reasoningText.signature", GONE, "Field required"),
    ("converse", "messages.1.content.0", GONE, "Expected `thinking`"),
    ("converse", "messages.1.content.1.toolUse.toolUseId", "x" * 65, "toolUseId"),
    ("converse", "messages.1.content.1.toolUse.input", [], "json object"),
    ("converse", "messages.2.content.0.toolResult.status", "failed", "status"),
    ("converse", "toolConfig", GONE, "must be defined"),
    ("converse", "toolConfig.tools.0.toolSpec.inputSchema.json.type", GONE, "type"),
    ("converse", "toolConfig.toolChoice", {"none": {}}, "auto, any, tool"),
    ("converse", "toolConfig.toolChoice", {"any": {}}, "forces tool use"),
    ("converse", "inferenceConfig.temperature", 0.5, "only be set to 1"),
]


def with_member(body, path, value):
    body = copy.deepcopy(body)
    *names, last = path.split(".")
    place = body
    for name in names:
        place = place[int(name)] if isinstance(place, list) else place[name]
    key = int(last) if isinstance(place, list) else last
    if value is GONE:
        del place[key]
    elif isinstance(place, list) and key == len(place):
        place.append(value)
    else:
        place[key] = value
    return body


def send(form, body):
    """Return (status, body) of the response."""
    provider, path = PATHS[form]
    sent = request("POST", path, json.dumps(body).encode(), {"anthropic-version": "2023-06-01"})
    try:
        made = provider.respond(sent, PLAIN, State())
    except BadRequest as error:
        made = provider.failure(error.status, error.message, PLAIN)
    return made.status, json.dumps(json.loads(made.body), ensure_ascii=False)


@pytest.mark.parametrize("form", BODIES)
def test_a_conversation_with_calls_and_reasoning_gets_a_response(form):
    status, body = send(form, BODIES[form])
    assert status == 200, body


@pytest.mark.parametrize(("form", "path", "value", "sentence"), REFUSED, ids=str)
def test_a_conversation_that_the_provider_refuses_is_refused(form, path, value, sentence):
    status, refused = send(form, with_member(BODIES[form], path, value))
    assert status == 400, refused
    assert sentence in refused
