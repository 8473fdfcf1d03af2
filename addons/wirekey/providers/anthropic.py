"""Anthropic: https://docs.anthropic.com/en/api."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.providers.anthropic_answers import AnthropicJson, MessageStream
from wirekey.providers.brought_tools import tools_in_messages
from wirekey.providers.other_models import OTHER_MODEL_KEYS, others, read_other_models
from wirekey.providers.paths import Routes
from wirekey.providers.protocol import Body, Facts, Kind, Operation
from wirekey.providers.request_json import (
    check_json_type,
    malformed,
    objects,
    read_body,
    read_messages,
    read_model,
    refuse_lookalikes,
)
from wirekey.refusal import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.providers.protocol import AnswerReader
    from wirekey.providers.request_json import JsonObject
    from wirekey.refusal import Refusal
    from wirekey.wire.request_body import RequestBody

_NONE, _JSON, _OPAQUE = Body.NONE, Body.JSON, Body.OPAQUE
_INFERENCE, _LISTING, _STORAGE = Kind.INFERENCE, Kind.LISTING, Kind.STORAGE

ROUTES = Routes(
    [
        ("POST", "/v1/messages", "messages", _JSON, _INFERENCE),
        ("POST", "/v1/messages/count_tokens", "messages.count_tokens", _JSON, _INFERENCE),
        ("POST", "/v1/messages/batches", "messages.batches.create", _JSON, _STORAGE),
        ("GET", "/v1/messages/batches", "messages.batches.list", _NONE, _STORAGE),
        ("GET", "/v1/messages/batches/{id}", "messages.batches.get", _NONE, _STORAGE),
        ("DELETE", "/v1/messages/batches/{id}", "messages.batches.delete", _NONE, _STORAGE),
        ("POST", "/v1/messages/batches/{id}/cancel", "messages.batches.cancel", _NONE, _STORAGE),
        ("GET", "/v1/messages/batches/{id}/results", "messages.batches.results", _NONE, _STORAGE),
        ("GET", "/v1/models", "models.list", _NONE, _LISTING),
        ("GET", "/v1/models/{model}", "models.get", _NONE, _LISTING),
        ("POST", "/v1/files", "files.create", _OPAQUE, _STORAGE),
        ("GET", "/v1/files", "files.list", _NONE, _STORAGE),
        ("GET", "/v1/files/{id}", "files.get", _NONE, _STORAGE),
        ("DELETE", "/v1/files/{id}", "files.delete", _NONE, _STORAGE),
        ("GET", "/v1/files/{id}/content", "files.content", _NONE, _STORAGE),
    ],
)

KEYS = OTHER_MODEL_KEYS | {"model", "stream", "messages", "system", "tools", "max_tokens", "requests", "params"}

ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}


class Anthropic:
    name = "anthropic"
    key_setting = "ANTHROPIC_API_KEY"

    def recognise(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        return ROUTES.find(method, path)

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        check_json_type(content_type)
        parsed = read_body(body)
        if operation.name == "messages.batches.create":
            return read_batch(parsed)
        return read_message_request(parsed)

    def reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> AnswerReader | None:
        media = content_type.lower()
        if operation.name != "messages":
            return None
        if media.startswith("text/event-stream") or (facts.stream and not media):
            return MessageStream()
        return AnthropicJson() if "json" in media else None

    def credential(self, key: str, path: str) -> tuple[str, str]:
        return "x-api-key", key

    def phrase(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        headers = {"content-type": "application/json", "request-id": request_id}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        elif refusal.fault is Fault.OPERATOR or refusal.status < 500:
            # The SDK would repeat calls answered 409, 429 and 5xx; here a person must act first.
            headers["x-should-retry"] = "false"
        return msgspec.json.encode({**_error(refusal), "request_id": request_id}), headers

    def phrase_in_stream(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        if not content_type.lower().startswith("text/event-stream"):
            return b""
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(_error(refusal)) + b"\n\n"


def read_message_request(body: JsonObject) -> Facts:
    refuse_lookalikes(body, KEYS)
    messages = read_messages(body, "messages")
    offered = [*body.children("tools"), *tools_in_messages(body)]
    tools = tuple(tool.text("name") or tool.text("type") or "" for tool in offered)
    model = read_model(body)
    # A fallback may have a limit of its own.
    limits = [limited.integer("max_tokens") for limited in (body, *objects(body, "fallbacks"))]
    return Facts(
        model=model,
        stream=body.flag("stream"),
        message_count=messages.count if messages else None,
        has_system=body.filled("system") or bool(messages and "system" in messages.roles),
        has_tools=bool(tools),
        tool_count=len(tools),
        max_tokens=max((limit for limit in limits if limit is not None), default=None),
        tools=tools,
        other_models=read_other_models(body, offered, model),
    )


def read_batch(body: JsonObject) -> Facts:
    """Read the facts of a batch as one: its messages and tools together, the largest of its limits.

    All its requests must ask for the same model, as a call has one model that policy decides on.
    """
    refuse_lookalikes(body, KEYS)
    asked: list[Facts] = []
    for request in body.children("requests"):
        refuse_lookalikes(request, KEYS)
        params = request.child("params")
        if params is None:
            raise malformed(f"{request.place} has no params")
        asked.append(read_message_request(params))
    models = {facts.model for facts in asked}
    if len(models) > 1:
        raise malformed("its requests ask for different models; send one batch for each model")
    tools = tuple(dict.fromkeys(tool for facts in asked for tool in facts.tools))
    model = models.pop() if models else None
    return Facts(
        model=model,
        message_count=sum(facts.message_count or 0 for facts in asked),
        has_system=any(facts.has_system for facts in asked),
        has_tools=bool(tools),
        tool_count=len(tools),
        max_tokens=max((facts.max_tokens for facts in asked if facts.max_tokens is not None), default=None),
        tools=tools,
        other_models=others((name for facts in asked for name in facts.other_models), model),
    )


def _error(refusal: Refusal) -> dict[str, object]:
    fallback = "invalid_request_error" if refusal.status < 500 else "api_error"
    kind = ERROR_TYPES.get(refusal.status, fallback)
    return {"type": "error", "error": {"type": kind, "message": refusal.message, "code": refusal.code}}
