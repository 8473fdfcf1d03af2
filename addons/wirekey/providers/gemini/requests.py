"""Gemini's API as generativelanguage.googleapis.com speaks it: its own operations, and OpenAI's below /openai/.

Google's servers read JSON leniently: a member may be spelt in camel or snake case, and where an array is wanted
a single element may stand alone. Both are read here as the server reads them; a member in both spellings at once
is refused. Described at https://ai.google.dev/api.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.providers.gemini.responses import GeminiArrayReader, GeminiJsonReader, GeminiSseReader
from wirekey.providers.openai.requests import OpenAi
from wirekey.providers.other_models import others
from wirekey.providers.paths import Routes
from wirekey.providers.protocol import Body, Facts, Kind, Operation
from wirekey.providers.request_json import (
    check_json_type,
    malformed,
    one_of,
    read_body,
    read_model,
    read_object,
    refuse_lookalikes,
)
from wirekey.providers.tools import Named, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import msgspec

    from wirekey.errors import Refusal
    from wirekey.providers.protocol import ResponseReader
    from wirekey.providers.request_json import JsonObject
    from wirekey.wire.request_body import RequestBody

VERSION = r"/(?:v1beta|v1alpha|v1)"
MODEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
ACTIONS = (
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "predict",
    "predictLongRunning",
)
READABLE_ANSWERS = ("json", "sse")
UNREADABLE_PARAMETERS = ("$httpMethod", "$httpHeaders", "$ct", "$req")
METHOD_OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")

_ACTION = re.compile(rf"{VERSION}/(?:models/({MODEL})|(tunedModels/{MODEL})):({'|'.join(ACTIONS)})")
_SNAKE = re.compile(r"_([a-z])")

_KEYS = frozenset(
    spelling
    for name in (
        *("model", "contents", "content", "instances", "requests", "tools", "system_instruction", "generation_config"),
        *("max_output_tokens", "function_declarations", "mcp_servers", "generate_content_request", "name"),
    )
    for spelling in (name, _SNAKE.sub(lambda found: found[1].upper(), name))
)
"""Members that are read, in both of their spellings."""

_JSON, _NONE, _OPAQUE = Body.JSON, Body.NONE, Body.OPAQUE
_INFERENCE, _LISTING, _STORAGE = Kind.INFERENCE, Kind.LISTING, Kind.STORAGE
_OPENAI = OpenAi()
_OPENAI_NAMES = ("chat.completions", "embeddings", "images.generations")

_ROUTES = Routes(
    [
        (method, f"{prefix}/{version}{path}", name, body, kind)
        for version in ("v1beta", "v1alpha", "v1")
        for method, prefix, path, name, body, kind in (
            ("GET", "", "/models", "models.list", _NONE, _LISTING),
            ("GET", "", "/models/{model}", "models.get", _NONE, _LISTING),
            ("GET", "", "/models/{id}/operations/{id}", "operations.get", _NONE, _STORAGE),
            ("GET", "", "/tunedModels", "tunedModels.list", _NONE, _LISTING),
            ("GET", "", "/tunedModels/{id}", "tunedModels.get", _NONE, _LISTING),
            ("POST", "", "/cachedContents", "cachedContents.create", _JSON, _STORAGE),
            ("GET", "", "/cachedContents", "cachedContents.list", _NONE, _STORAGE),
            ("GET", "", "/cachedContents/{id}", "cachedContents.get", _NONE, _STORAGE),
            ("PATCH", "", "/cachedContents/{id}", "cachedContents.patch", _JSON, _STORAGE),
            ("DELETE", "", "/cachedContents/{id}", "cachedContents.delete", _NONE, _STORAGE),
            ("POST", "", "/files", "files.create", _JSON, _STORAGE),
            ("GET", "", "/files", "files.list", _NONE, _STORAGE),
            ("GET", "", "/files/{id}:download", "files.download", _NONE, _STORAGE),
            ("GET", "/download", "/files/{id}:download", "files.download", _NONE, _STORAGE),
            ("GET", "", "/files/{id}", "files.get", _NONE, _STORAGE),
            ("DELETE", "", "/files/{id}", "files.delete", _NONE, _STORAGE),
            # A resumable upload begins with a POST; its bytes follow by POST or PUT to the address in the answer.
            ("POST", "/upload", "/files", "upload", _OPAQUE, _STORAGE),
            ("PUT", "/upload", "/files", "upload", _OPAQUE, _STORAGE),
            ("POST", "", "/openai/chat/completions", "chat.completions", _JSON, _INFERENCE),
            ("POST", "", "/openai/embeddings", "embeddings", _JSON, _INFERENCE),
            ("POST", "", "/openai/images/generations", "images.generations", _JSON, _INFERENCE),
            ("GET", "", "/openai/models", "models.list", _NONE, _LISTING),
            ("GET", "", "/openai/models/{model}", "models.get", _NONE, _LISTING),
        )
    ]
)

# google.rpc.Code by HTTP status, as Google's servers pair them.
_STATUS_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    407: "UNAUTHENTICATED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Gemini:
    """The protocol of Google's Gemini API."""

    name = "gemini"
    key_setting = "GEMINI_API_KEY"

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        # Google's servers let these headers replace the method: the operation would be another one.
        if any(name in headers for name in METHOD_OVERRIDES):
            return None
        if method == "POST" and (match := _ACTION.fullmatch(path)):
            model, tuned, action = match.groups()
            return Operation(action, Body.JSON, Kind.INFERENCE, model or tuned, action == "streamGenerateContent")
        operation = _ROUTES.find(method, path)
        # A colon begins an action, and is no part of any name.
        return operation if operation is None or ":" not in path or operation.name == "files.download" else None

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        _check_query(query)
        if operation.name in _OPENAI_NAMES:
            return as_gemini(_OPENAI.read_request(operation, query, content_type, body))
        check_json_type(content_type)
        data = read_body(body)
        refuse_lookalikes(data, _KEYS)
        if operation.name == "cachedContents.create":
            return _facts_of_contents(operation, data, _bare(read_model(data)))
        if operation.kind is not Kind.INFERENCE:
            return Facts()
        _check_model(operation, data)
        if operation.name == "embedContent":
            return Facts(model=operation.model, message_count=1 if data.filled("content") else None)
        if operation.name == "batchEmbedContents":
            requests = _objects(data, "requests")
            return Facts(model=operation.model, message_count=sum(_check_model(operation, each) for each in requests))
        if operation.name in ("predict", "predictLongRunning"):
            return Facts(model=operation.model, message_count=len(_items(data, "instances") or ()))
        if operation.name == "countTokens":
            whole = data.child(one_of(data, "generateContentRequest", "generate_content_request"))
            if whole is not None:
                _check_model(operation, whole)
                data = whole
        return _facts_of_contents(operation, data, operation.model)

    def reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        if operation.kind is not Kind.INFERENCE or operation.name == "countTokens":
            return None
        if operation.name in _OPENAI_NAMES:
            return _OPENAI.reader(operation, facts, status, content_type, headers)
        kind = _media_type(content_type)
        if kind == "text/event-stream":
            return GeminiSseReader()
        if kind != "application/json":
            return None
        return GeminiArrayReader() if operation.stream and status == 200 else GeminiJsonReader()

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Name and value of the key's header: each half of the API takes it in one place only."""
        return ("authorization", f"Bearer {key}") if "/openai/" in path else ("x-goog-api-key", key)

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        headers = {"content-type": "application/json; charset=UTF-8"}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        return json.dumps(_error(refusal, request_id), indent=2).encode(), headers

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        if operation.name in _OPENAI_NAMES:
            return _OPENAI.stream_error(refusal, operation, content_type)
        error = json.dumps(_error(refusal)).encode()
        if _media_type(content_type) == "text/event-stream":
            # Bare, not after `data:`: so Google ends a stream, and only so all of its SDKs raise.
            return b"\n\n" + error + b"\n\n"
        return b",\n" + error + b"\n]" if operation.stream else b""


def as_gemini(facts: Facts) -> Facts:
    """Give what a request in OpenAI's format asks of Gemini."""
    # Asked for usage, its endpoint puts it into every chunk, from where it could not be taken out again.
    model = _bare(facts.model)
    return replace(facts, model=model, other_models=others(map(_bare, facts.other_models), model), asks_usage=True)


def _facts_of_contents(operation: Operation, data: JsonObject, model: str | None) -> Facts:
    contents = _items(data, "contents")
    system = one_of(data, "systemInstruction", "system_instruction")
    config = data.child(one_of(data, "generationConfig", "generation_config"))
    if config:
        refuse_lookalikes(config, _KEYS)
    tools = collect(_tool_names(data))
    return Facts(
        model=model,
        stream=operation.stream,
        message_count=None if contents is None else len(contents),
        has_system=data.filled(system),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=config.integer(one_of(config, "maxOutputTokens", "max_output_tokens")) if config else None,
        tools=tools.names,
    )


def _tool_names(data: JsonObject) -> Iterator[Named]:
    """Name every function and MCP server; a built-in tool goes by its member's name in camel case."""
    for tool in _objects(data, "tools"):
        refuse_lookalikes(tool, _KEYS)
        declarations = one_of(tool, "functionDeclarations", "function_declarations")
        servers = one_of(tool, "mcpServers", "mcp_servers")
        for key, value in tool.values.items():
            if bytes(memoryview(value)[:5]) == b"null":
                continue
            if key != declarations:
                yield Named(_SNAKE.sub(lambda found: found[1].upper(), key), counted=key != servers)
            for named in _objects(tool, key) if key in (declarations, servers) else ():
                refuse_lookalikes(named, _KEYS)
                yield Named(named.text("name") or "")


def _items(parent: JsonObject, key: str) -> list[msgspec.Raw] | None:
    return [parent.values[key]] if parent.starts(key, b"{") else parent.array(key)


def _objects(parent: JsonObject, key: str) -> Iterator[JsonObject]:
    if parent.starts(key, b"{"):
        yield read_object(bytes(parent.values[key]), parent.where(key))
    else:
        yield from parent.children(key)


def _check_model(operation: Operation, data: JsonObject) -> bool:
    """Refuse a body that names another model than the path. Gives True, so that requests can be counted by it."""
    refuse_lookalikes(data, _KEYS)
    model = data.text("model")
    if model is not None and _bare(model) != operation.model:
        raise malformed(
            f"{data.where('model')} is not the model that the path names; name one model, or only in the path"
        )
    return True


def _bare(model: str | None) -> str | None:
    return model.removeprefix("models/") if model else model


def _check_query(query: Mapping[str, str]) -> None:
    for name in UNREADABLE_PARAMETERS:
        if name in query:
            raise malformed(f"the query parameter {name} changes what the request means; leave it out")
    for name in ("alt", "$alt"):
        if query.get(name, "json").lower() not in READABLE_ANSWERS:
            raise malformed(f"{name}={query[name]!r} asks for an answer that cannot be metered; ask for json or sse")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _error(refusal: Refusal, request_id: str | None = None) -> dict[str, object]:
    information = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": refusal.code.upper(),
        "domain": "wirekey",
        "metadata": {"request_id": request_id} if request_id else {},
    }
    details: list[dict[str, object]] = [{**information}]
    if refusal.retry_after is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{refusal.retry_after}s"})
    status = _STATUS_WORDS.get(refusal.status, "INVALID_ARGUMENT" if refusal.status < 500 else "INTERNAL")
    # `error` stands first and alone: the SDKs look for it at the very beginning.
    return {"error": {"code": refusal.status, "message": refusal.message, "status": status, "details": details}}
