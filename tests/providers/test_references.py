"""Requests that refer to input which is not in them, in each provider's words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.errors import Refusal
from wirekey.providers.openai import references as openai
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_json import read_body, read_messages

PATHS = {
    "chat": ("openai", "/v1/chat/completions"),
    "responses": ("openai", "/v1/responses"),
    "images": ("openai", "/v1/images/edits"),
    "anthropic": ("anthropic", "/v1/messages"),
    "gemini": ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent"),
    "interactions": ("gemini", "/v1beta/interactions"),
    "gemini-chat": ("gemini", "/v1beta/openai/chat/completions"),
    "converse": ("bedrock", "/model/us.amazon.nova-pro-v1%3A0/converse"),
    "invoke": ("bedrock", "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"),
}
URL = "https://example.com/a"
DATA = "data:image/png;base64,iVBORw0KGgo="


def said(*content, key="messages"):
    return {key: [{"role": "user", "content": [{"type": "text", "text": "Look."}, *content]}]}


def parts(*found):
    return {"contents": [{"role": "user", "parts": [{"text": "Look."}, *found]}]}


def source(kind, **members):
    return said({"type": kind, "source": members})


def listed(*found):
    return {"input": [{"role": "user", "content": "Go on."}, *found]}


def block(**members):
    return {"messages": [{"role": "user", "content": [{"text": "Look."}, members]}]}


S3 = {"s3Location": {"uri": "s3://bucket/key"}}
FILE = {"fileUri": URL, "mimeType": "text/plain"}
REFERRING = [
    ("chat", said({"type": "image_url", "image_url": {"url": URL}})),
    ("chat", said({"type": "image_url", "image_url": URL})),
    ("chat", said({"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}})),
    ("chat", said({"type": "file", "file": {"file_id": "file-1"}})),
    ("chat", said({"type": "video_url", "video_url": {"url": URL}})),
    ("chat", said({"type": "document_url", "document_url": URL})),
    ("chat", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
    ("chat", {"messages": [], "web_search_options": {"search_context_size": "high"}}),
    ("gemini-chat", said({"type": "image_url", "image_url": {"url": URL}})),
    ("responses", {"input": "x", "previous_response_id": "resp_1"}),
    ("responses", {"input": "x", "previous_response_id": "resp_1", "background": True}),
    ("responses", {"input": "x", "conversation": "conv_1"}),
    ("responses", {"input": "x", "conversation": {"id": "conv_1"}}),
    ("responses", {"prompt": {"id": "pmpt_1"}}),
    ("responses", said({"type": "input_file", "file_id": "file-1"}, key="input")),
    ("responses", said({"type": "input_file", "file_url": URL}, key="input")),
    ("responses", said({"type": "input_image", "image_url": URL}, key="input")),
    ("responses", listed({"type": "item_reference", "id": "msg_1"})),
    ("responses", listed({"id": "msg_1"})),
    ("responses", listed({"id": "msg_1", "type": None})),
    ("responses", listed({"type": "reasoning", "id": "rs_1", "summary": []})),
    ("responses", listed({"type": "image_generation_call", "id": "ig_1"})),
    ("responses", listed({"type": "web_search_call", "id": "ws_1", "status": "completed"})),
    ("responses", listed({"type": "function_call_output", "output": [{"type": "input_file", "file_id": "file-1"}]})),
    ("responses", listed({"type": "computer_call_output", "output": {"file_id": "file-1"}})),
    ("responses", {"input": "x", "tools": [{"type": "web_search_preview"}]}),
    ("responses", {"input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}),
    ("responses", {"input": "x", "tools": [{"type": "mcp", "server_label": "s", "server_url": URL}]}),
    ("images", {"images": [{"file_id": "file-1"}]}),
    ("images", {"images": [{"image_url": URL}]}),
    ("anthropic", source("image", type="url", url=URL)),
    ("anthropic", source("document", type="file", file_id="file_1")),
    ("anthropic", said({"type": "container_upload", "file_id": "file_1"})),
    (
        "anthropic",
        said({"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]}),
    ),
    ("anthropic", {"messages": [], "container": "container_1"}),
    ("anthropic", {"messages": [], "mcp_servers": [{"type": "url", "url": URL, "name": "s"}]}),
    ("anthropic", {"messages": [], "tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
    ("gemini", parts({"fileData": FILE})),
    ("gemini", parts({"file_data": {"file_uri": URL}})),
    ("gemini", {"contents": {"parts": {"fileData": FILE}}}),
    ("gemini", parts({"functionResponse": {"name": "f", "response": {}, "parts": [{"fileData": FILE}]}})),
    ("gemini", {**parts(), "systemInstruction": {"parts": [{"fileData": FILE}]}}),
    ("gemini", {**parts(), "cachedContent": "cachedContents/1"}),
    ("gemini", {**parts(), "cached_content": "cachedContents/1"}),
    ("gemini", {**parts(), "tools": [{"urlContext": {}}]}),
    ("gemini", {**parts(), "tools": {"url_context": {}}}),
    ("gemini", {**parts(), "tools": [{"functionDeclarations": []}, {"fileSearch": {}}]}),
    ("interactions", {"input": "x", "previous_interaction_id": "i"}),
    ("interactions", {"input": [{"type": "document", "uri": URL}]}),
    ("interactions", {"input": "x", "tools": [{"type": "url_context"}]}),
    ("converse", block(document={"name": "d", "format": "pdf", "source": S3})),
    ("converse", block(video={"format": "mp4", "source": S3})),
    ("converse", block(toolResult={"content": [{"image": {"format": "png", "source": S3}}]})),
    ("converse", {"messages": [], "toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}),
    ("converse", {"messages": [], "additionalModelRequestFields": {"tools": [{"type": "web_search_20250305"}]}}),
    ("invoke", source("image", type="url", url=URL)),
    ("invoke", {"messages": [{"role": "user", "content": [{"video": {"source": S3}}]}]}),
]
MENTIONED = ' {"file_id": "file-1", "image_url": {"url": "https://x"}, "type": "file", "fileData": 1, "s3Location": 1} '
COMPLETE = [
    ("chat", said({"type": "image_url", "image_url": {"url": DATA}})),
    ("chat", said({"type": "file", "file": {"file_data": DATA, "filename": "a.pdf"}})),
    ("chat", said({"type": "text", "text": MENTIONED})),
    ("chat", {**said(), "audio": {"voice": {"id": "voice_1"}, "format": "wav"}}),
    ("chat", {**said(), "tools": [{"type": "function", "function": {"name": "file_id", "parameters": {"url": URL}}}]}),
    ("responses", {"input": MENTIONED}),
    ("responses", said({"type": "input_image", "image_url": DATA, "file_id": None}, key="input")),
    ("responses", listed({"type": "message", "id": "msg_1", "role": "assistant", "content": []})),
    ("responses", listed({"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"})),
    ("responses", listed({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"})),
    ("responses", {"input": "x", "previous_response_id": None, "tools": [{"type": "function", "name": "file_id"}]}),
    ("anthropic", source("image", type="base64", media_type="image/png", data="iVBORw0KGgo=")),
    ("anthropic", said({"type": "tool_use", "id": "t", "name": "f", "input": {"type": "file", "url": URL}})),
    ("anthropic", {**said({"type": "text", "text": MENTIONED}), "tools": [{"name": "url", "input_schema": {}}]}),
    ("gemini", parts({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}})),
    ("gemini", parts({"functionResponse": {"name": "f", "response": {"fileData": FILE}}})),
    ("gemini", {**parts({"text": MENTIONED}), "tools": [{"functionDeclarations": [{"name": "fileData"}]}]}),
    ("interactions", {"input": "x", "tools": [{"type": "function", "name": "f"}]}),
    ("converse", block(image={"format": "png", "source": {"bytes": "iVBORw0KGgo="}})),
    ("converse", block(toolUse={"toolUseId": "t", "name": "f", "input": {"s3Location": {"uri": "s3://b/k"}}})),
    ("invoke", source("image", type="base64", media_type="image/png", data="iVBORw0KGgo=")),
]


@pytest.fixture(params=REFERRING)
def referring(request):
    """The call and the body of a request that refers to input elsewhere. Features add requests of their own."""
    form, body = request.param
    return PATHS[form], body


def reads_elsewhere(call, body):
    name, path = call
    provider = PROVIDERS[name]
    operation = provider.operations.match_operation("POST", path, {})
    return provider.operations.read_request(operation, {}, "application/json", body).reads_elsewhere


def test_R42_a_request_that_refers_to_input_elsewhere_is_recognised(referring):
    call, body = referring
    assert reads_elsewhere(call, json.dumps(body).encode())


@pytest.mark.parametrize(("form", "body"), COMPLETE)
def test_a_request_that_has_all_of_its_input_is_no_reference(form, body):
    assert not reads_elsewhere(PATHS[form], json.dumps(body).encode())


def test_R42_a_reference_is_recognised_however_its_names_are_written(referring):
    """Every provider's JSON reader decodes escapes. A name that Wirekey finds otherwise could be hidden by them."""
    call, body = referring
    written = json.dumps(body, separators=(" ,\n", " :\t"))
    for name in ("file_id", "fileData", "file_data", "s3Location", "url", "file", "audio", "id"):
        written = written.replace(f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"')
    assert json.loads(written) == body
    assert reads_elsewhere(call, written.encode())


def test_R42_a_stored_prompt_in_the_place_of_a_model_is_a_reference():
    arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aprompt%2FABCDE12345%3A1"
    operation = PROVIDERS["bedrock"].operations.match_operation("POST", f"/model/{arn}/converse", {})
    facts = PROVIDERS["bedrock"].operations.read_request(operation, {}, "application/json", b'{"promptVariables":{}}')
    assert facts.reads_elsewhere


def test_R42_what_is_nested_too_deep_to_be_read_counts_as_a_reference():
    content = {"type": "image", "source": {"type": "url", "url": URL}}
    for _ in range(12):
        content = {"type": "tool_result", "content": [content]}
    assert reads_elsewhere(PATHS["anthropic"], json.dumps(said(content)).encode())


NAMES = [
    "content",
    "output",
    "file",
    "file_id",
    "audio",
    "image_url",
    "url",
    "role",
    "type",
    "text",
    "input",
    "messages",
]
VALUES = st.recursive(
    st.sampled_from([None, "", "text", "https://example.org/a.png", "data:image/png;base64,AA", 0, [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["messages", "input", "content", "file"]), VALUES, max_size=2), st.booleans())
def test_no_reference_of_a_chat_is_missed_by_the_quick_look_at_its_texts(request, escaped):
    data = json.dumps(request)
    if escaped:
        data = data.replace('"file_id"', '"\\u0066ile_id"').replace('"url"', '"ur\\u006c"')
    body = read_body(data.encode())
    try:
        messages = read_messages(body, "messages")
    except Refusal:  # something else than a list of messages
        assert not isinstance(request["messages"], list) or any(isinstance(one, dict) for one in request["messages"])
        return
    assert openai._messages_refer(body, "messages", messages) == openai.content_refers(body)


@pytest.mark.parametrize("key", ["messages", "input"])
def test_a_part_whose_content_is_written_twice_is_refused_if_one_of_them_refers(key):
    part = b'{"type":"text","content":[{"file_id":"file-1"}],"content":"Hello."}'
    body = read_body(b'{"%b":[{"role":"user","content":[%b]}]}' % (key.encode(), part))
    with pytest.raises(Refusal, match="appears twice"):
        openai._messages_refer(body, key, read_messages(body, key))
