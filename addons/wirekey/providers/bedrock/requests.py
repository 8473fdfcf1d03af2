"""Bedrock: Converse, and invoke with the bodies of Anthropic, Nova, Titan, Llama, Mistral, Cohere, OpenAI.

The models' own bodies are told apart by their members, not by the model's name: a profile or an imported model
has a name that says nothing. Two members that mean the same are refused, as one of them would be ignored.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.metering.eventstream import write_frame
from wirekey.providers.anthropic.requests import message_tools
from wirekey.providers.bedrock import services as bedrock_services
from wirekey.providers.bedrock.responses import BedrockJson, ConverseStream, InvokeStream, usage_from_headers
from wirekey.providers.bedrock.services import AGENT_STREAM_ERRORS, AgentStream
from wirekey.providers.brought_tools import tools_in_messages
from wirekey.providers.json_size import VALUES_LIMIT, check_size
from wirekey.providers.other_models import OTHER_MODEL_KEYS, read_other_models
from wirekey.providers.protocol import Body, Facts, Kind, Operation
from wirekey.providers.request_json import (
    check_json_type,
    malformed,
    one_of,
    read_body,
    read_messages,
    refuse_lookalikes,
)
from wirekey.providers.tools import Named, Tools, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.errors import Refusal
    from wirekey.providers.protocol import ResponseReader
    from wirekey.providers.request_json import JsonObject
    from wirekey.wire.request_body import RequestBody

# The runtime's.
ACTIONS = ("invoke", "invoke-with-response-stream", "converse", "converse-stream", "count-tokens")
EVENT_STREAM = "application/vnd.amazon.eventstream"
SYSTEM_ROLES = frozenset({"system", "developer"})

_PATH = re.compile(rf"/model/{bedrock_services.WRITTEN_MODEL}/({'|'.join(ACTIONS)})")

_LIMITS = ("max_tokens", "max_completion_tokens", "max_tokens_to_sample", "max_gen_len", "maxTokens")
_TEXTS = ("prompt", "inputText", "message")

_CONVERSE_KEYS = frozenset(
    [
        *("messages", "system", "inferenceConfig", "maxTokens", "toolConfig", "tools", "toolSpec", "systemTool"),
        *("additionalModelRequestFields", "name"),
    ]
)
_OWN_KEYS = OTHER_MODEL_KEYS | frozenset(
    [
        *("model", "messages", "system", "preamble", "tools", "toolConfig", "mcp_servers", "chat_history"),
        *("inferenceConfig", "textGenerationConfig", "max_new_tokens", "maxTokenCount"),
        *_LIMITS,
        *_TEXTS,
    ]
)

_ERRORS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    407: "UnrecognizedClientException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
    500: "InternalServerException",
    502: "ServiceUnavailableException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}
# The members of both streams' unions; modelTimeoutException is one of invoke's only.
_STREAM_ERRORS = {
    429: "throttlingException",
    500: "internalServerException",
    502: "serviceUnavailableException",
    503: "serviceUnavailableException",
    504: "modelStreamErrorException",
}


class Bedrock:
    """The protocol of Amazon Bedrock: its runtime here, its other services in `bedrock_services`."""

    name = "bedrock"
    key_setting = "AWS_BEARER_TOKEN_BEDROCK"

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        match = _PATH.fullmatch(path) if method == "POST" else None
        if match is None:
            return bedrock_services.find(method, path)
        model, action = bedrock_services.read_model_segment(match[1]), match[2]
        if model is None:
            return None
        return Operation(action, Body.JSON, Kind.INFERENCE, model, action.endswith("-stream"))

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        # Of invoke, SDKs declare bytes where nobody told them more.
        if content_type.lower() != "application/octet-stream":
            check_json_type(content_type)
        data = read_body(body)
        if operation.name in ("invoke", "invoke-with-response-stream"):
            return _read_invoke(operation, data)
        if operation.name == "count-tokens":
            return _read_count(operation, data)
        if operation.name.startswith("converse"):
            return _read_converse(operation, data)
        return bedrock_services.read(operation, data)

    def reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        media = content_type.lower()
        if operation.name not in ACTIONS or operation.name == "count-tokens":
            return AgentStream() if operation.name == "invoke-agent" and media.startswith(EVENT_STREAM) else None
        if media.startswith(EVENT_STREAM):
            return ConverseStream() if operation.name == "converse-stream" else InvokeStream()
        return BedrockJson(headers) if "json" in media or usage_from_headers(headers or {}) else None

    def credential(self, key: str, path: str) -> tuple[str, str]:
        return "authorization", f"Bearer {key}"

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        fallback = _ERRORS[400 if refusal.status < 500 else 500]
        headers = {
            "content-type": "application/json",
            "x-amzn-errortype": refusal.error_type or _ERRORS.get(refusal.status, fallback),
            "x-amzn-requestid": request_id,
        }
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        return msgspec.json.encode({"message": refusal.message}), headers

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        if not content_type.lower().startswith(EVENT_STREAM):
            return b""
        errors = AGENT_STREAM_ERRORS if operation.name == "invoke-agent" else _STREAM_ERRORS
        fallback = "validationException" if refusal.status < 500 else "internalServerException"
        headers = {
            ":exception-type": errors.get(refusal.status, fallback),
            ":content-type": "application/json",
            ":message-type": "exception",
        }
        return write_frame(headers, msgspec.json.encode({"message": refusal.message}))


def _read_converse(operation: Operation, data: JsonObject) -> Facts:
    refuse_lookalikes(data, _CONVERSE_KEYS)
    messages = data.array("messages")
    config = data.child("inferenceConfig")
    own = data.child("additionalModelRequestFields")
    offered = _offered(own) if own else []
    if config:
        refuse_lookalikes(config, _CONVERSE_KEYS)
    tools = _tools(data, own, offered)
    return Facts(
        model=operation.model,
        stream=operation.stream,
        message_count=None if messages is None else len(messages),
        has_system=data.filled("system"),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=config.integer("maxTokens") if config else None,
        tools=tools.names,
        other_models=read_other_models(own, offered, operation.model) if own else (),
    )


def _read_invoke(operation: Operation, data: JsonObject) -> Facts:
    offered = _offered(data)
    tools = _tools(data, data, offered)
    messages = read_messages(data, "messages")
    return Facts(
        model=operation.model,
        stream=operation.stream,
        message_count=messages.count if messages else _count_texts(data),
        has_system=(
            data.filled("system") or data.filled("preamble") or bool(messages and messages.roles & SYSTEM_ROLES)
        ),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=_max_tokens(data),
        tools=tools.names,
        other_models=read_other_models(data, offered, operation.model),
    )


def _read_count(operation: Operation, data: JsonObject) -> Facts:
    """Read what is to be counted: a request of converse, or one of invoke in base64."""
    given = data.child("input")
    converse, invoke = (given.child("converse"), given.child("invokeModel")) if given else (None, None)
    if converse:
        return _read_converse(operation, converse)
    if not invoke:
        return Facts(model=operation.model)
    try:
        body = binascii.a2b_base64(invoke.text("body") or "", strict_mode=True)
    except ValueError:
        raise malformed("input.invokeModel.body is not base64") from None
    for _ in check_size(body, VALUES_LIMIT):
        pass
    return _read_invoke(operation, read_body(body))


def _count_texts(data: JsonObject) -> int | None:
    """Count what stands for messages: one text, in Cohere's case after a history."""
    if not any(data.filled(key) for key in _TEXTS):
        return None
    return 1 + len(data.array("chat_history") or ())


def _max_tokens(data: JsonObject) -> int | None:
    limits = {key: data.integer(key) for key in _LIMITS}
    for parent, keys in (
        ("inferenceConfig", ("maxTokens", "max_new_tokens")),  # Nova
        ("textGenerationConfig", ("maxTokenCount",)),  # Titan
    ):
        if config := data.child(parent):
            refuse_lookalikes(config, keys)
            limits[parent] = config.integer(one_of(config, *keys))
    given = {key: limit for key, limit in limits.items() if limit is not None}
    if len(given) > 1:
        raise malformed(f"the number of tokens is limited in several places: {', '.join(given)}; keep the model's own")
    return next(iter(given.values()), None)


def _tools(data: JsonObject, own: JsonObject | None, offered: list[JsonObject]) -> Tools:
    """Name the tools of a request, and those of the model's own body `own`."""
    named = [Named(name) for name in _converse_tools(data)]
    return collect([*named, *message_tools(own, offered).named]) if own else collect(named)


def _converse_tools(data: JsonObject) -> Iterator[str]:
    """Name the tools of Converse's and Nova's shape. A cache point between them is not a tool."""
    config = data.child("toolConfig")
    if config:
        refuse_lookalikes(config, _CONVERSE_KEYS)
    for tool in config.children("tools") if config else ():
        refuse_lookalikes(tool, _CONVERSE_KEYS)
        for kind in tool.values:
            if kind in ("toolSpec", "systemTool"):
                specification = tool.child(kind)
                if specification:
                    refuse_lookalikes(specification, _CONVERSE_KEYS)
                yield (specification.text("name") if specification else None) or ""
            elif kind != "cachePoint":
                yield kind


def _offered(data: JsonObject) -> list[JsonObject]:
    """Return the tools of a model's own body."""
    refuse_lookalikes(data, _OWN_KEYS)
    return [*data.children("tools"), *tools_in_messages(data)]
