"""Requests to Bedrock: Converse, and invoke with the bodies of Anthropic, Nova, Titan, Llama, Mistral, Cohere, OpenAI.

The models' own bodies are distinguished by their members, not by the model's name: a profile or an imported model
has a name that says nothing. Two members that mean the same are refused, as one of them would be ignored.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

import binascii
import re
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.json_size import VALUES_LIMIT, check_size
from wirekey.core.model_name import CONVERSE_PARAMETERS
from wirekey.core.operation import Facts, Kind
from wirekey.providers.anthropic.requests import MODIFIERS, message_tools
from wirekey.providers.bedrock import services as bedrock_services
from wirekey.providers.bedrock.formats import CONVERSE, INVOKE
from wirekey.providers.bedrock.references import reads_elsewhere
from wirekey.providers.brought_tools import tools_in_messages
from wirekey.providers.other_models import OTHER_MODEL_KEYS, read_other_models
from wirekey.providers.price_facts import long_cache, read_modifiers, read_value
from wirekey.providers.reasoning import read_reasoning
from wirekey.providers.request_edits import (
    RequestEditor,
    as_json,
    cap_tokens,
    cap_tokens_in_group,
    clamp,
    misnamed,
    out_of_reach,
    uncapped,
)
from wirekey.providers.request_json import (
    check_json_type,
    malformed,
    one_of,
    read_body,
    read_messages,
    refuse_lookalikes,
)
from wirekey.providers.tools import Named, Tools, collect, first_tools

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Modifiers, Operation
    from wirekey.providers.json_edits import EditableBody, EditableObject
    from wirekey.providers.request_edits import RequestEdits
    from wirekey.providers.request_json import JsonObject

READ_AS_JSON = ("application/octet-stream", "application/x-amz-json-1.0", "application/x-amz-json-1.1", "text/plain")
"""Bedrock reads a body as JSON, whatever its content type. SDKs declare that of invoke as bytes by default."""

PAID_TOOLS = ("nova_grounding",)
"""Tools that Bedrock runs for a fee."""

SYSTEM_ROLES = frozenset({"system", "developer"})


SLASHES_OF_A_CALL = 3
_BARE_ARN = re.compile(rf"(/model/)(arn(?::|%3A)[^/]*/[^?]*)(/(?:{'|'.join(bedrock_services.ACTIONS)}))")

_LIMITS = ("max_tokens", "max_completion_tokens", "max_tokens_to_sample", "max_gen_len", "maxTokens")
_TEXTS = ("prompt", "inputText", "message")

_LIMITS_IN_GROUPS = {
    "inferenceConfig": ("max_new_tokens", "maxTokens"),
    "textGenerationConfig": ("maxTokenCount",),
}
"""Object of a model's own body → the names of its token limit. The first name is added if the object has no limit."""
_FAMILIES = {
    "anthropic": ("max_tokens",),
    "ai21": ("max_tokens",),
    "amazon.nova": ("inferenceConfig", "max_new_tokens"),
    "amazon.titan-text": ("textGenerationConfig", "maxTokenCount"),
    "cohere.command": ("max_tokens",),
    "deepseek": ("max_tokens",),
    "meta": ("max_gen_len",),
    "mistral": ("max_tokens",),
    "openai": ("max_completion_tokens",),
    "qwen": ("max_tokens",),
}
"""Beginning of a model's name, without its region → where its body has the limit."""
_SILENT = ("embed", "rerank", "image", "canvas", "reel", "stability", "sonic")
"""Words in the names of models that write no text."""

_CONVERSE_KEYS = frozenset(
    [
        *("messages", "system", "inferenceConfig", "maxTokens", "toolConfig", "tools", "toolSpec", "systemTool"),
        *("additionalModelRequestFields", "name", "serviceTier", "performanceConfig", "type", "latency"),
    ]
)
_OWN_KEYS = OTHER_MODEL_KEYS | frozenset(
    [
        *("model", "messages", "system", "preamble", "tools", "toolConfig", "mcp_servers", "chat_history"),
        *("inferenceConfig", "textGenerationConfig", "max_new_tokens", "maxTokenCount"),
        *MODIFIERS,
        *_LIMITS,
        *_TEXTS,
    ]
)


class BedrockRequests(RequestEditor):
    """Reads and edits requests to Bedrock: to its runtime here, to its other services in `services`."""

    name = "bedrock"
    model_in_path = re.compile(rb"/(?:model|foundation-models|inference-profiles)/([^/]+)")
    parameters = MappingProxyType(dict.fromkeys(CONVERSE.conversations, CONVERSE_PARAMETERS))

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        return bedrock_services.find(method, self.plain_target(path))

    def plain_target(self, target: str) -> str:
        """Return a path with the `/` of an ARN as %2F. Some programs write it bare, and AWS then finds nothing."""
        if target.count("/") <= SLASHES_OF_A_CALL:
            return target
        path, mark, query = target.partition("?")
        found = _BARE_ARN.fullmatch(path)
        return f"{found[1]}{found[2].replace('/', '%2F')}{found[3]}{mark}{query}" if found else target

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request asks for. Raises Refusal(400)."""
        check_json_type(content_type, also=READ_AS_JSON)
        if not body and operation.kind is not Kind.INFERENCE:
            return Facts(stream=operation.stream)
        data = read_body(body)
        if operation.name in INVOKE.conversations:
            return _read_invoke(operation, data)
        if operation.name == "count-tokens":
            return _read_count(operation, data)
        if operation.name in CONVERSE.conversations:
            return _read_converse(operation, data)
        return bedrock_services.read(operation, data)

    def check_model_name(self, model: str) -> None:
        """Raise Refusal(403) if this is neither a model's id nor an ARN."""
        super().check_model_name(model)
        if bedrock_services.read_model_segment(model) != model:
            raise misnamed(model, "in a request to Bedrock: it is neither a model's id nor an ARN")

    def model_segment(self, operation: Operation, model: str) -> str:
        """Return a model's name as boto3 encodes it. No other character of these names is ever encoded."""
        return model.replace(":", "%3A").replace("/", "%2F")

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a JSON body, and return whether the model changed."""
        changed = edits.model is not None and self._edit_model(operation, body, edits.model)
        converses = operation.name in CONVERSE.conversations
        if edits.parameters:
            renamed = {"top_p": "topP", "max_tokens": "maxTokens"}
            values = {renamed.get(name, name): value for name, value in as_json(edits.parameters).items()}
            body.root.set({"inferenceConfig": values})
        if edits.max_tokens is not None and converses:
            cap_tokens_in_group(body.root, "inferenceConfig", "maxTokens", edits.max_tokens)
        elif edits.max_tokens is not None and operation.name in INVOKE.conversations:
            cap_own_body(operation.model or "", body.root, edits.max_tokens)
        return changed

    def clamp_temperature(self, operation: Operation, body: EditableBody) -> None:
        """Set a temperature above 1 to 1: in Converse's and Nova's group, or at the top of a model's own body."""
        clamp(body.root)
        if body.root.members.starts("inferenceConfig", b"{"):
            clamp(body.root.child("inferenceConfig"))

    def _edit_model(self, operation: Operation, body: EditableBody, model: str) -> bool:
        if operation.name in INVOKE.conversations:
            members = body.root.members
            # OpenAI's models are refused there where their body and the path name different models.
            is_named = members.starts("model", b'"') and members.text("model") == operation.model
            return is_named and self.set_model(body.root, model)
        if operation.name not in bedrock_services.GENERATES:
            return False
        configuration = body.root.child("retrieveAndGenerateConfiguration")
        source = None
        if configuration:
            kinds = ("knowledgeBaseConfiguration", "externalSourcesConfiguration")
            source = configuration.child(one_of(configuration.members, *kinds))
        if source is None:
            raise out_of_reach("a request of a session, which names no model")
        return self.set_model(source, model, "modelArn")


def cap_own_body(model: str, body: EditableObject, cap: int) -> None:
    """Cap the body of invoke: by the limit that it has, or else by the family of its model.

    Raises Refusal(403) if neither is known.
    """
    members = body.members
    group = next((group for group in _LIMITS_IN_GROUPS if members.starts(group, b"{")), None)
    written = tuple(key for key in _LIMITS if key in members.values)
    if group:
        inner = body.child(group)
        assert inner
        keys = _LIMITS_IN_GROUPS[group]
        key = one_of(inner.members, *keys) if any(key in inner.members.values for key in keys) else keys[0]
        cap_tokens(inner, (key,), key, cap)
    elif written:
        cap_tokens(body, written, written[0], cap)
    elif not any(word in model for word in _SILENT):
        _add_limit_of_family(model, body, cap)


def _add_limit_of_family(model: str, body: EditableObject, cap: int) -> None:
    name = model.rpartition("/")[2]
    for beginning, path in _FAMILIES.items():
        if name.startswith(beginning) or name.partition(".")[2].startswith(beginning):
            if len(path) == 1:
                cap_tokens(body, path, path[0], cap)
            else:
                cap_tokens_in_group(body, path[0], path[1], cap)
            return
    raise uncapped("this model's body, which has no limit that Wirekey knows: set one")


def _read_converse(operation: Operation, data: JsonObject) -> Facts:
    refuse_lookalikes(data, _CONVERSE_KEYS)
    count = data.length("messages")
    config = data.child("inferenceConfig")
    own = data.child("additionalModelRequestFields")
    offered = _offered(own) if own else []
    if config:
        refuse_lookalikes(config, _CONVERSE_KEYS)
    tools = _tools(data, own, offered)
    return Facts(
        model=operation.model,
        stream=operation.stream,
        message_count=count,
        has_system=data.filled("system"),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=config.integer("maxTokens") if config else None,
        tools=tools.names,
        other_models=read_other_models(own, offered, operation.model) if own else (),
        reads_elsewhere=reads_elsewhere(operation.model, data, own, offered),
        reasoning=reasoning_of(own) if own else None,
        modifiers=_converse_modifiers(data, own),
        paid_tools=tuple((name, None) for name in PAID_TOOLS if name in tools.names),
    )


def _converse_modifiers(data: JsonObject, own: JsonObject | None) -> Modifiers:
    """Return what a request of Converse asks for that changes its price, also in the fields of the model's own."""
    found = [*(read_modifiers(own, *MODIFIERS) if own else ()), *long_cache(data)]
    for key, inner, name in (("serviceTier", "type", "service_tier"), ("performanceConfig", "latency", "latency")):
        if group := data.child(key):
            refuse_lookalikes(group, _CONVERSE_KEYS)
            if (value := read_value(group, inner)) is not None:
                found.append((name, value))
    return tuple(dict(found).items())


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
        reads_elsewhere=reads_elsewhere(operation.model, data, data, offered),
        reasoning=reasoning_of(data),
        modifiers=(*read_modifiers(data, *MODIFIERS), *long_cache(data)),
        paid_tools=tuple((name, None) for name in PAID_TOOLS if name in tools.names),
    )


def reasoning_of(own: JsonObject) -> str | int | None:
    """Return how long a model may think, by its own members."""
    return read_reasoning(own, "thinking", "budget_tokens") or read_reasoning(own, "reasoning_effort")


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
    check_size(body, VALUES_LIMIT)
    return _read_invoke(operation, read_body(body))


def _count_texts(data: JsonObject) -> int | None:
    """Count what stands for messages: one text, in Cohere's case after a history."""
    if not any(data.filled(key) for key in _TEXTS):
        return None
    return 1 + (data.length("chat_history") or 0)


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
    named = collect(Named(name) for name in _converse_tools(data)).named
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
    return first_tools(chain(data.children("tools"), tools_in_messages(data)))
