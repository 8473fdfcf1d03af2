"""OpenAI: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wirekey.errors import Fault
from wirekey.providers.brought_tools import tools_in_items
from wirekey.providers.multipart import is_form, read_fields
from wirekey.providers.openai.responses import ChunkStream, OpenAiJson, TypedStream
from wirekey.providers.other_models import OTHER_MODEL_KEYS, others, read_other_models
from wirekey.providers.paths import Routes
from wirekey.providers.protocol import Body, Facts, Kind, Operation
from wirekey.providers.request_json import (
    check_json_type,
    check_model,
    malformed,
    read_body,
    read_messages,
    read_model,
    refuse_lookalikes,
)
from wirekey.providers.tools import Named, collect, names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wirekey.errors import Refusal
    from wirekey.providers.protocol import ResponseReader
    from wirekey.providers.request_json import JsonObject
    from wirekey.wire.request_body import RequestBody

_NONE, _JSON, _FORM, _OPAQUE = Body.NONE, Body.JSON, Body.MULTIPART, Body.OPAQUE
_INFERENCE, _LISTING, _STORAGE = Kind.INFERENCE, Kind.LISTING, Kind.STORAGE

ROUTES = Routes(
    [
        ("POST", "/v1/chat/completions", "chat.completions", _JSON, _INFERENCE),
        ("GET", "/v1/chat/completions", "chat.completions.list", _NONE, _STORAGE),
        ("GET", "/v1/chat/completions/{id}", "chat.completions.get", _NONE, _STORAGE),
        ("POST", "/v1/chat/completions/{id}", "chat.completions.update", _JSON, _STORAGE),
        ("DELETE", "/v1/chat/completions/{id}", "chat.completions.delete", _NONE, _STORAGE),
        ("GET", "/v1/chat/completions/{id}/messages", "chat.completions.messages", _NONE, _STORAGE),
        ("POST", "/v1/responses", "responses", _JSON, _INFERENCE),
        ("POST", "/v1/responses/compact", "responses.compact", _JSON, _INFERENCE),
        ("POST", "/v1/responses/input_tokens", "responses.input_tokens", _JSON, _INFERENCE),
        ("GET", "/v1/responses/{id}", "responses.get", _NONE, _STORAGE),
        ("DELETE", "/v1/responses/{id}", "responses.delete", _NONE, _STORAGE),
        ("POST", "/v1/responses/{id}/cancel", "responses.cancel", _NONE, _STORAGE),
        ("GET", "/v1/responses/{id}/input_items", "responses.input_items", _NONE, _STORAGE),
        ("POST", "/v1/completions", "completions", _JSON, _INFERENCE),
        ("POST", "/v1/embeddings", "embeddings", _JSON, _INFERENCE),
        ("POST", "/v1/images/generations", "images.generations", _JSON, _INFERENCE),
        ("POST", "/v1/images/edits", "images.edits", _FORM, _INFERENCE),
        ("POST", "/v1/images/variations", "images.variations", _FORM, _INFERENCE),
        ("POST", "/v1/audio/speech", "audio.speech", _JSON, _INFERENCE),
        ("POST", "/v1/audio/transcriptions", "audio.transcriptions", _FORM, _INFERENCE),
        ("POST", "/v1/audio/translations", "audio.translations", _FORM, _INFERENCE),
        ("POST", "/v1/moderations", "moderations", _JSON, _INFERENCE),
        ("GET", "/v1/models", "models.list", _NONE, _LISTING),
        ("GET", "/v1/models/{model}", "models.get", _NONE, _LISTING),
        ("DELETE", "/v1/models/{model}", "models.delete", _NONE, _STORAGE),
        ("POST", "/v1/files", "files.create", _OPAQUE, _STORAGE),
        ("GET", "/v1/files", "files.list", _NONE, _STORAGE),
        ("GET", "/v1/files/{id}", "files.get", _NONE, _STORAGE),
        ("DELETE", "/v1/files/{id}", "files.delete", _NONE, _STORAGE),
        ("GET", "/v1/files/{id}/content", "files.content", _NONE, _STORAGE),
        ("POST", "/v1/uploads", "uploads.create", _JSON, _STORAGE),
        ("POST", "/v1/uploads/{id}/parts", "uploads.parts", _OPAQUE, _STORAGE),
        ("POST", "/v1/uploads/{id}/complete", "uploads.complete", _JSON, _STORAGE),
        ("POST", "/v1/uploads/{id}/cancel", "uploads.cancel", _NONE, _STORAGE),
        ("POST", "/v1/batches", "batches.create", _JSON, _STORAGE),
        ("GET", "/v1/batches", "batches.list", _NONE, _STORAGE),
        ("GET", "/v1/batches/{id}", "batches.get", _NONE, _STORAGE),
        ("POST", "/v1/batches/{id}/cancel", "batches.cancel", _NONE, _STORAGE),
    ],
)

MODEL_IN_BODY = frozenset(
    [
        *("chat.completions", "completions", "embeddings", "moderations"),
        *("responses", "responses.compact", "responses.input_tokens"),
        *("images.generations", "images.edits", "images.variations"),
        *("audio.speech", "audio.transcriptions", "audio.translations"),
    ]
)
"""Operations whose body has a member or form field `model`. To others it means nothing, so policy does not see it."""

CHUNKED = ("chat.completions", "completions")
TYPED = ("responses", "responses.get", "images.generations", "images.edits", "audio.speech", "audio.transcriptions")
SILENT = ("responses.input_tokens", "moderations")
"""Operations whose answers cost no tokens and end for no reason."""

SYSTEM_ROLES = {"system", "developer"}

KEYS = frozenset(
    [
        *("model", "stream", "stream_options", "stream_format", "messages", "input", "instructions", "prompt"),
        *("tools", "functions", "web_search_options", "max_tokens", "max_completion_tokens", "max_output_tokens"),
        *OTHER_MODEL_KEYS,
    ],
)

_OPTION_KEYS = frozenset({"include_usage"})

ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}

_LIST_OF_PROMPTS = re.compile(rb'\[[ \t\r\n]*["\[]')


class OpenAi:
    """The protocol of OpenAI, which many other servers speak too."""

    name = "openai"
    key_setting = "OPENAI_API_KEY"

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        operation = ROUTES.find(method, path)
        if operation and operation.name == "images.edits" and not is_form(headers.get("content-type", "")):
            return replace(operation, body=Body.JSON)
        return operation

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        if operation.body is Body.MULTIPART:
            return read_form(content_type, body)
        check_json_type(content_type)
        parsed = read_body(body)
        refuse_lookalikes(parsed, KEYS)
        if operation.name == "chat.completions":
            return read_chat(parsed)
        if operation.name.startswith("responses"):
            return read_responses(parsed)
        return read_other(operation, parsed)

    def reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        media = content_type.lower()
        if operation.name in SILENT or (operation.kind is not Kind.INFERENCE and operation.name != "responses.get"):
            return None
        if media.startswith("text/event-stream") or (facts.stream and not media):
            return ChunkStream() if operation.name in CHUNKED else TypedStream()
        return OpenAiJson() if "json" in media else None

    def credential(self, key: str, path: str) -> tuple[str, str]:
        return "authorization", f"Bearer {key}"

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        headers = {"content-type": "application/json", "x-request-id": request_id}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        elif refusal.fault is Fault.OPERATOR or refusal.status < 500:
            # The SDK would repeat calls answered 409, 429 and 5xx; here a person must act first.
            headers["x-should-retry"] = "false"
        return msgspec.json.encode({"error": _error(refusal)}), headers

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        if not content_type.lower().startswith("text/event-stream"):
            return b""
        error = _error(refusal)
        if operation.name in CHUNKED:
            return b"\n\ndata: " + msgspec.json.encode({"error": error}) + b"\n\n"
        # The event of the Responses API has no member `error`, but only at one does the SDK raise.
        event = {
            "type": "error",
            "code": error["code"],
            "message": error["message"],
            "param": None,
            "sequence_number": 0,
            "error": error,
        }
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


def read_chat(body: JsonObject) -> Facts:
    messages = read_messages(body, "messages")
    offered = list(body.children("tools"))
    tools = collect(chat_tools(body, offered))
    limits = [limit for key in ("max_completion_tokens", "max_tokens") if (limit := body.integer(key)) is not None]
    model = read_model(body)
    return Facts(
        model=model,
        stream=body.flag("stream"),
        message_count=messages.count if messages else None,
        has_system=bool(messages and messages.roles & SYSTEM_ROLES),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=max(limits, default=None),
        tools=tools.names,
        other_models=read_other_models(body, offered, model),
        asks_usage=asks_usage(body),
    )


def read_responses(body: JsonObject) -> Facts:
    text = body.starts("input", b'"')
    offered = [*body.children("tools"), *tools_in_items(body)]
    tools = collect(name for tool in offered for name in names_of(tool))
    items = None if text else read_messages(body, "input")
    model = read_model(body)
    return Facts(
        model=model,
        stream=body.flag("stream"),
        message_count=1 if text else items.count if items else None,
        has_system=body.filled("instructions") or bool(items and items.roles & SYSTEM_ROLES),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=body.integer("max_output_tokens"),
        tools=tools.names,
        other_models=read_other_models(body, offered, model),
    )


def read_other(operation: Operation, body: JsonObject) -> Facts:
    """Read the facts of what has no messages: completions, embeddings, images, speech, storage."""
    stream = body.flag("stream")
    if operation.name == "audio.speech":
        stream = stream or body.text("stream_format") == "sse"
    completes = operation.name == "completions"
    model = read_model(body) if operation.name in MODEL_IN_BODY else None
    return Facts(
        model=model,
        stream=stream,
        message_count=prompt_count(body) if completes else None,
        max_tokens=body.integer("max_tokens") if completes else None,
        other_models=read_other_models(body, (), model),
        asks_usage=asks_usage(body) if completes else True,
    )


def read_form(content_type: str, body: RequestBody) -> Facts:
    fields = read_fields(content_type, body, ("model", "stream", "svg[model]"))
    model = fields.get("model")
    for name in ("model", "svg[model]"):
        if name in fields:
            check_model(fields[name], name)
    stream = fields.get("stream", "false").lower()
    if stream not in ("true", "false", "1", "0"):
        raise malformed("the form field 'stream' must be true or false")
    return Facts(model=model, stream=stream in ("true", "1"), other_models=others([fields.get("svg[model]")], model))


def chat_tools(body: JsonObject, offered: Iterable[JsonObject]) -> Iterator[Named]:
    """Name the tools of a chat, its functions of the older kind and the search that a member of its own asks for."""
    for tool in (*offered, *body.children("functions")):
        yield from names_of(tool)
    if body.filled("web_search_options"):
        yield Named("web_search")


def prompt_count(body: JsonObject) -> int | None:
    """Count prompts: a string, a list of them, a list of tokens, or a list of such lists."""
    prompt = body.values.get("prompt")
    if prompt is not None and _LIST_OF_PROMPTS.match(memoryview(prompt)):
        return len(body.array("prompt") or ())
    return 1 if body.filled("prompt") else None


def asks_usage(body: JsonObject) -> bool:
    if not body.flag("stream"):
        return True
    options = body.child("stream_options")
    if options:
        refuse_lookalikes(options, _OPTION_KEYS)
    return options is not None and options.flag("include_usage")


def _error(refusal: Refusal) -> dict[str, str | None]:
    fallback = "invalid_request_error" if refusal.status < 500 else "server_error"
    return {
        "message": refusal.message,
        "type": ERROR_TYPES.get(refusal.status, fallback),
        "param": None,
        "code": refusal.code,
    }
