"""Every operation of the four providers, over each delivery: the provider's response, and its audit event."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import httpx
import pytest

from tests.deliveries.paths import RowAgent, each_delivery, failed_rows
from tests.support.stream_formats import RawWay
from wirekey.core.call import new_call_id

COUNTS = "input-tokens=31, cached-tokens=7, tokens=12, reasoning-tokens=4"
UNCACHED = "input-tokens=31, tokens=12"
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
FLAT_TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
CONVERSE = [{"role": "user", "content": [{"text": "hello"}]}]
DECLARED = {"functionDeclarations": [{"name": "weather"}, {"name": "news"}]}
SPECIFIED = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]}
CLAUDE_TOOL = {"name": "weather", "input_schema": {"type": "object"}}
MESSAGE = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": [USER]}
FLASH = "/v1beta/models/gemini-2.5-flash"
FILE = {"file": ("a.jsonl", b'{"custom_id":"1"}\n', "application/jsonl")}
SOUND = {"file": ("a.wav", b"RIFF" * 10, "audio/wav")}
PICTURE = {"image": ("a.png", b"png", "image/png")}
TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
NOTHING = {"message_count": None, "has_system": None, "has_tools": None, "tool_count": None, "max_tokens": None}


@dataclass
class Row:
    """`path` may hold {id}: what the row `after` made."""

    provider: str
    method: str
    path: str
    operation: str
    body: dict | None = None
    model: str | None = None
    facts: dict = field(default_factory=dict)
    usage: tuple | None = None
    """Input, output, cached and reasoning tokens; () where this is not the place to say."""
    finish: str | None = None
    after: str = ""
    form: dict | None = None
    files: dict | None = None
    behaviour: str = COUNTS
    settles: tuple | None = None
    """What the batch whose results are read has used, as `usage`: that is recorded by an event of its own."""


def facts(messages, system=False, tools=0, most=None) -> dict:
    return {
        "message_count": messages,
        "has_system": system,
        "has_tools": tools > 0,
        "tool_count": tools,
        "max_tokens": most,
    }


def bedrock(model: str, body: dict, said: dict, finish: str | None, action: str = "invoke") -> Row:
    row = Row("bedrock", "POST", f"/model/{model}/{action}", action, body, model, said, (31, 12, 7, None), finish)
    if not model.startswith(("anthropic.", "amazon.nova")):
        # The others have no cache; for a whole response a header reports it.
        row.behaviour, row.usage = UNCACHED, (31, 12, 0 if action == "invoke" else None, None)
    return row


FULL = (31, 12, 7, 4)
ROWS = {
    "chat": Row(
        "openai", "POST", "/v1/chat/completions", "chat.completions",
        {"model": "gpt-4o-mini", "messages": [SYSTEM, USER], "tools": [TOOL], "max_tokens": 9, "store": True},
        "gpt-4o-mini", facts(2, True, 1, 9), FULL, "stop",
    ),
    "chat list": Row("openai", "GET", "/v1/chat/completions", "chat.completions.list"),
    "chat get": Row("openai", "GET", "/v1/chat/completions/{id}", "chat.completions.get", after="chat"),
    "chat messages": Row(
        "openai", "GET", "/v1/chat/completions/{id}/messages", "chat.completions.messages", after="chat"
    ),
    "chat update": Row(
        "openai", "POST", "/v1/chat/completions/{id}", "chat.completions.update", {"metadata": {}}, after="chat"
    ),
    "chat delete": Row("openai", "DELETE", "/v1/chat/completions/{id}", "chat.completions.delete", after="chat"),
    "responses": Row(
        "openai", "POST", "/v1/responses", "responses",
        {"model": "gpt-4o-mini", "input": "hello", "instructions": "brief", "tools": [FLAT_TOOL],
         "max_output_tokens": 99},
        "gpt-4o-mini", facts(1, True, 1, 99), FULL, "completed",
    ),
    "responses get": Row("openai", "GET", "/v1/responses/{id}", "responses.get", after="responses", usage=()),
    "responses items": Row(
        "openai", "GET", "/v1/responses/{id}/input_items", "responses.input_items", after="responses"
    ),
    "responses tokens": Row(
        "openai", "POST", "/v1/responses/input_tokens", "responses.input_tokens",
        {"model": "gpt-4o-mini", "input": "hello"}, "gpt-4o-mini", {"message_count": 1},
    ),
    "responses delete": Row("openai", "DELETE", "/v1/responses/{id}", "responses.delete", after="responses"),
    "completions": Row(
        "openai", "POST", "/v1/completions", "completions",
        {"model": "gpt-3.5-turbo-instruct", "prompt": ["one", "two"], "max_tokens": 50},
        "gpt-3.5-turbo-instruct", {"message_count": 2, "max_tokens": 50}, FULL, "stop",
    ),
    "embeddings": Row(
        "openai", "POST", "/v1/embeddings", "embeddings",
        {"model": "text-embedding-3-small", "input": ["one", "two"]}, "text-embedding-3-small", NOTHING,
        (31, None, None, None),
    ),
    "moderations": Row(
        "openai", "POST", "/v1/moderations", "moderations",
        {"model": "omni-moderation-latest", "input": "peace"}, "omni-moderation-latest", NOTHING,
    ),
    "images": Row(
        "openai", "POST", "/v1/images/generations", "images.generations",
        {"model": "gpt-image-1", "prompt": "a canary"}, "gpt-image-1", NOTHING, (31, 12, None, None),
    ),
    "image edit": Row(
        "openai", "POST", "/v1/images/edits", "images.edits", model="gpt-image-1", facts=NOTHING,
        usage=(31, 12, None, None), form={"model": "gpt-image-1", "prompt": "bluer"}, files=PICTURE,
    ),
    "image variation": Row(
        "openai", "POST", "/v1/images/variations", "images.variations", model="dall-e-2", facts=NOTHING,
        form={"model": "dall-e-2"}, files=PICTURE,
    ),
    "speech": Row(
        "openai", "POST", "/v1/audio/speech", "audio.speech",
        {"model": "tts-1", "voice": "alloy", "input": "hello"}, "tts-1", NOTHING,
    ),
    "transcription": Row(
        "openai", "POST", "/v1/audio/transcriptions", "audio.transcriptions", model="gpt-4o-transcribe",
        facts=NOTHING, usage=(31, 12, None, None), form={"model": "gpt-4o-transcribe"}, files=SOUND,
    ),
    "translation": Row(
        "openai", "POST", "/v1/audio/translations", "audio.translations", model="whisper-1", facts=NOTHING,
        form={"model": "whisper-1"}, files=SOUND,
    ),
    "models": Row("openai", "GET", "/v1/models", "models.list"),
    "model": Row("openai", "GET", "/v1/models/gpt-4o-mini", "models.get", model="gpt-4o-mini"),
    "file": Row("openai", "POST", "/v1/files", "files.create", form={"purpose": "batch"}, files=FILE),
    "files": Row("openai", "GET", "/v1/files", "files.list"),
    "file get": Row("openai", "GET", "/v1/files/{id}", "files.get", after="file"),
    "file content": Row("openai", "GET", "/v1/files/{id}/content", "files.content", after="file"),
    "file delete": Row("openai", "DELETE", "/v1/files/{id}", "files.delete", after="file"),
    "generate": Row(
        "gemini", "POST", f"{FLASH}:generateContent", "generateContent",
        {"contents": CONTENTS, "systemInstruction": {"parts": [{"text": "brief"}]}, "tools": [DECLARED],
         "generationConfig": {"maxOutputTokens": 99}},
        "gemini-2.5-flash", facts(1, True, 2, 99), (31, 12, 7, 4), "STOP",
    ),
    "stream": Row(
        "gemini", "POST", f"{FLASH}:streamGenerateContent?alt=sse", "streamGenerateContent", {"contents": CONTENTS},
        "gemini-2.5-flash", {**facts(1), "stream": True}, (31, 12, 7, 4), "STOP",
    ),
    "stream array": Row(
        "gemini", "POST", f"{FLASH}:streamGenerateContent", "streamGenerateContent", {"contents": CONTENTS},
        "gemini-2.5-flash", {**facts(1), "stream": True}, (31, 12, 7, 4), "STOP",
    ),
    "count": Row(
        "gemini", "POST", f"{FLASH}:countTokens", "countTokens", {"contents": CONTENTS}, "gemini-2.5-flash", facts(1)
    ),
    "embed": Row(
        "gemini", "POST", "/v1beta/models/gemini-embedding-001:embedContent", "embedContent",
        {"content": CONTENTS[0]}, "gemini-embedding-001", {"message_count": 1},
    ),
    "embed batch": Row(
        "gemini", "POST", "/v1beta/models/gemini-embedding-001:batchEmbedContents", "batchEmbedContents",
        {"requests": [{"model": "models/gemini-embedding-001", "content": CONTENTS[0]}] * 3},
        "gemini-embedding-001", {"message_count": 3},
    ),
    "gemini models": Row("gemini", "GET", "/v1beta/models", "models.list"),
    "gemini model": Row("gemini", "GET", FLASH, "models.get", model="gemini-2.5-flash"),
    "cache": Row(
        "gemini", "POST", "/v1beta/cachedContents", "cachedContents.create",
        {"model": "models/gemini-2.5-flash", "contents": CONTENTS}, "gemini-2.5-flash", facts(1),
    ),
    "caches": Row("gemini", "GET", "/v1beta/cachedContents", "cachedContents.list"),
    "cache get": Row("gemini", "GET", "/v1beta/{id}", "cachedContents.get", after="cache"),
    "cache patch": Row("gemini", "PATCH", "/v1beta/{id}", "cachedContents.patch", {"ttl": "60s"}, after="cache"),
    "cache delete": Row("gemini", "DELETE", "/v1beta/{id}", "cachedContents.delete", after="cache"),
    "gemini files": Row("gemini", "GET", "/v1beta/files", "files.list"),
    "gemini chat": Row(
        "gemini", "POST", "/v1beta/openai/chat/completions", "chat.completions",
        {"model": "gemini-2.5-flash", "messages": [USER]}, "gemini-2.5-flash", facts(1), FULL, "stop",
    ),
    "gemini openai embeddings": Row(
        "gemini", "POST", "/v1beta/openai/embeddings", "embeddings",
        {"model": "gemini-embedding-001", "input": "one"}, "gemini-embedding-001", NOTHING, (31, None, None, None),
    ),
    "messages": Row(
        "anthropic", "POST", "/v1/messages", "messages", {**MESSAGE, "system": "brief", "tools": [CLAUDE_TOOL]},
        "claude-sonnet-4-5", facts(1, True, 1, 50), (31, 12, 7, 4), "end_turn",
    ),
    "count tokens": Row(
        "anthropic", "POST", "/v1/messages/count_tokens", "messages.count_tokens",
        {"model": "claude-sonnet-4-5", "messages": [USER]}, "claude-sonnet-4-5", facts(1),
    ),
    "batch": Row(
        "anthropic", "POST", "/v1/messages/batches", "messages.batches.create",
        {"requests": [{"custom_id": "1", "params": MESSAGE}, {"custom_id": "2", "params": MESSAGE}]},
        "claude-sonnet-4-5", facts(2, most=50),
    ),
    "batches": Row("anthropic", "GET", "/v1/messages/batches", "messages.batches.list"),
    "batch get": Row("anthropic", "GET", "/v1/messages/batches/{id}", "messages.batches.get", after="batch"),
    "batch results": Row(
        "anthropic", "GET", "/v1/messages/batches/{id}/results", "messages.batches.results", after="batch",
        settles=(62, 24, 14, 8),
    ),
    "batch cancel": Row(
        "anthropic", "POST", "/v1/messages/batches/{id}/cancel", "messages.batches.cancel", after="batch"
    ),
    "batch delete": Row("anthropic", "DELETE", "/v1/messages/batches/{id}", "messages.batches.delete", after="batch"),
    "claude models": Row("anthropic", "GET", "/v1/models", "models.list"),
    "claude model": Row(
        "anthropic", "GET", "/v1/models/claude-sonnet-4-5", "models.get", model="claude-sonnet-4-5"
    ),
    "converse": bedrock(
        "amazon.nova-lite-v1:0",
        {"messages": CONVERSE, "system": [{"text": "brief"}], "toolConfig": SPECIFIED,
         "inferenceConfig": {"maxTokens": 50}},
        facts(1, True, 1, 50), "end_turn", "converse",
    ),
    "converse stream": bedrock(
        "amazon.nova-lite-v1:0", {"messages": CONVERSE}, {**facts(1), "stream": True}, "end_turn", "converse-stream"
    ),
}  # fmt: skip
INVOKED = {
    "anthropic.claude-3-5-sonnet-20241022-v2:0": (
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": [USER], "system": "brief"},
        facts(1, True, 0, 50), "end_turn",
    ),
    "amazon.nova-lite-v1:0": (
        {"messages": CONVERSE, "inferenceConfig": {"maxTokens": 50}}, facts(1, False, 0, 50), "end_turn"
    ),
    "amazon.titan-text-express-v1": (
        {"inputText": "hello", "textGenerationConfig": {"maxTokenCount": 50}}, facts(1, False, 0, 50), "FINISH"
    ),
    "meta.llama3-8b-instruct-v1:0": ({"prompt": "hello", "max_gen_len": 50}, facts(1, False, 0, 50), "stop"),
    "mistral.mistral-7b-instruct-v0:2": ({"prompt": "hello", "max_tokens": 50}, facts(1, False, 0, 50), "stop"),
    "cohere.command-r-v1:0": ({"message": "hello", "max_tokens": 50}, facts(1, False, 0, 50), "COMPLETE"),
    "cohere.command-text-v14": ({"prompt": "hello", "max_tokens": 50}, facts(1, False, 0, 50), "COMPLETE"),
}  # fmt: skip
for invoked, (request, expected, reason) in INVOKED.items():
    ROWS[f"invoke {invoked}"] = bedrock(invoked, request, expected, reason)
    ROWS[f"invoke stream {invoked}"] = bedrock(
        invoked, request, {**expected, "stream": True}, reason, "invoke-with-response-stream"
    )

NOT_LISTED = {"cohere.command-r-v1:0", "cohere.command-text-v14"}
"""Models of which the price list has no price."""


@pytest.fixture(scope="module")
def way(proxy) -> RawWay:
    return RawWay(proxy.root, proxy=proxy.proxy_url("alice", proxy.token))


def send(agent: RowAgent, row: Row, made: str = "") -> httpx.Response:
    content = {}
    if row.body is not None:
        content["json"] = row.body
    if row.files is not None:
        content |= {"data": row.form, "files": row.files}
    request = agent.request(row.provider, row.method, row.path.format(id=made), row.behaviour, **content)
    return agent.client.request(**request)


def created_id(response: httpx.Response) -> str:
    """Return the id or name of what a request created."""
    created = response.json()
    return created.get("id") or created["name"]


@each_delivery(0)
def test_every_operation_is_recognised_served_and_recorded(deployment, path, delivery):
    def check(agent: RowAgent, row: Row) -> None:
        made = created_id(send(agent, ROWS[row.after])) if row.after else ""
        response = send(agent, row, made)
        assert response.status_code == 200, response.text
        arrived = agent.arrived()[-1]
        assert (arrived.target, arrived.protocol) == (row.path.format(id=made), path.upstream)
        events = agent.events(1 + bool(row.after) + bool(row.settles))
        settled = [event for event in events if event["operation"] == "batch.settlement"]
        made_by, event = [None, *(event for event in events if event not in settled)][-2:]
        assert (event["provider"], event["operation"], event["action"]) == (row.provider, row.operation, row.method)
        assert (event["outcome"], event["status"], event["credential"]) == ("completed", 200, f"{row.provider}/1")
        assert event["attempts"] == 1
        called = arrived.target.partition("?")[0]
        assert (event["path"], event["target"]) == (called, f"/{event['provider']}{called}")
        assert event["requested_model"] == event["model"] == row.model
        for fact, value in row.facts.items():
            assert (None if event[fact] is None else int(event[fact])) == (None if value is None else int(value)), fact
        assert bool(event["stream"]) == row.facts.get("stream", False)
        if row.usage != ():
            check_usage(event, row)
        check_settlements(settled, row, made_by)

    assert failed_rows(deployment, path, delivery, ROWS, check) == []


def check_usage(event: dict, row: Row) -> None:
    assert tuple(event[name] for name in TOKENS) == (row.usage or (None,) * 4)
    assert event["finish_reason"] == row.finish
    if row.usage is None or row.model in NOT_LISTED:
        assert event["cost_usd"] is None
    else:
        assert event["cost_usd"] > 0


def check_settlements(settled: list[dict], row: Row, made_by: dict | None) -> None:
    """`settled`: the events of what a batch has cost; `made_by`: that of the call which made it."""
    assert len(settled) == bool(row.settles)
    for event in settled:
        assert made_by
        assert (event["parent_id"], event["model"]) == (made_by["id"], made_by["model"])
        assert (event["outcome"], event["action"]) == ("completed", "SETTLE")
        assert (event["credential"], event["attempts"]) == (f"{row.provider}/1", 0)
        assert tuple(event[name] for name in TOKENS) == row.settles
        assert event["cost_usd"] > 0


@pytest.mark.parametrize("model", ["corp-own-model", "ft:corp-model:x"])
def test_the_cost_of_an_unknown_model_is_unknown_and_not_zero(model, way, proxy):
    began = new_call_id()
    body = {"model": model, "messages": [USER]}
    way.call("openai", "POST", "/v1/chat/completions", COUNTS, json=body)
    event = proxy.finished_event(began)
    assert event["cost_usd"] is None
    assert (event["input_tokens"], event["output_tokens"]) == (31, 12)


def test_an_error_of_the_provider_is_passed_on_and_has_no_usage(way, proxy):
    began = new_call_id()
    response = way.call("openai", "POST", "/v1/chat/completions", "fail=500", json=ROWS["chat"].body)
    assert response.status_code == 500
    assert json.loads(response.content)["error"]["type"] == "server_error"
    event = proxy.finished_event(began)
    assert (event["outcome"], event["status"]) == ("upstream_error", 500)
    assert event["input_tokens"] is event["cost_usd"] is event["finish_reason"] is None
