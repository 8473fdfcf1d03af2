"""Requests to Gemini's API: its own operations, and OpenAI's below /openai/; their facts and edits.

Google's servers read JSON leniently: a member may be spelt in camel or snake case, and where an array is wanted
a single element may stand alone. Both are read here as the server reads them; a member in both spellings at once
is refused. Described at https://ai.google.dev/api.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec

from wirekey.body import Body
from wirekey.model_name import CHAT_PARAMETERS, GENERATE_PARAMETERS, PREFIX, has_unknown_prefix
from wirekey.operation import Facts, Kind, Operation
from wirekey.providers.gemini.parameters import camel, set_parameters
from wirekey.providers.gemini.responses import OPENAI_NAMES
from wirekey.providers.openai.google_extras import move_google_extras, set_chat_parameters
from wirekey.providers.openai.requests import AT_GOOGLE, CHAT_LIMITS, OpenAiRequests
from wirekey.providers.other_models import others
from wirekey.providers.paths import SEGMENT, PathTable, Row, plain_segment, read_rows
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
    read_model,
    read_object,
    refuse_lookalikes,
)
from wirekey.providers.tools import Named, collect, names_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wirekey.body import RequestBody
    from wirekey.providers.json_edits import EditableBody, EditableObject
    from wirekey.providers.request_edits import EditedRequest, RequestEdits
    from wirekey.providers.request_json import JsonObject

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
    "generateAnswer",
)
BATCH_ACTIONS = ("batchGenerateContent", "asyncBatchEmbedContent")
READABLE_RESPONSES = ("json", "sse", "json;enum-encoding=int")
"""Values of `alt`. The last one is that of Google's generated REST clients, such as google-generativeai."""
UNREADABLE_PARAMETERS = ("$httpMethod", "$httpHeaders", "$ct", "$req")
DOUBLE_SLASH = "//ws/"
"""The beginning of the Live API's path as SDKs write it whose base URL ends with a slash."""
METHOD_OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")

# A model string has a backend in front and parameters behind, encoded: `gemini%3Agemini-2.5-pro%3Ftemperature%3D0.7`.
_NAMED = rf"(?:(?:{PREFIX})%3A(?:google%2F)?)?{MODEL}(?:%3F[A-Za-z0-9_.%-]{{1,256}})?"
_WRITTEN = re.compile(
    rf"({VERSION}/models/)((?:(?:{PREFIX})(?::|%3A)(?:google(?:/|%2F))?)?{MODEL}(?:\?[A-Za-z0-9_.=&-]{{1,256}}|%3F[A-Za-z0-9_.%-]{{1,256}})?)"
    rf":({'|'.join(ACTIONS)})(\?.*)?"
)
_ACTION = re.compile(rf"{VERSION}/(?:models/({_NAMED})|(tunedModels/{MODEL})):({'|'.join((*ACTIONS, *BATCH_ACTIONS))})")
_ANY_ACTION = re.compile(rf".*:(?:{'|'.join((*ACTIONS, *BATCH_ACTIONS))})", re.IGNORECASE)
_BELOW_OPENAI = re.compile(rb"/(?:v1beta|v1alpha|v1)/openai(?=/)")
_NAME = re.compile(rf"(?:tunedModels/)?{MODEL}")

KEYS = frozenset(
    spelling
    for name in (
        *("model", "contents", "content", "instances", "requests", "tools", "system_instruction", "generation_config"),
        *("max_output_tokens", "function_declarations", "mcp_servers", "generate_content_request", "name"),
        "candidate_count",
    )
    for spelling in (name, camel(name))
)
"""Members that are read, in both of their spellings."""

_OPENAI = OpenAiRequests()


def _rows_of_all_versions() -> Iterator[Row]:
    for method, path, name, body, kind in read_rows("gemini"):
        for version in ("v1beta", "v1alpha", "v1"):
            whole = path.replace("VERSION", version) if "VERSION" in path else f"/{version}{path}"
            yield method, whole, name, body, kind


# A colon begins an action, and is no part of any name.
ROUTES = PathTable(_rows_of_all_versions(), dict.fromkeys(("id", "model"), SEGMENT.replace(":", "")))


class GeminiRequests(RequestEditor):
    """Reads and edits requests in Gemini's format, and in OpenAI's as Google reads it."""

    name = "gemini"
    # With its collection, as a tuned model is in another one.
    model_in_path = re.compile(rb"/((?:models|tunedModels)/[^/:]+)")
    parameters = MappingProxyType(
        {
            "chat.completions": (*CHAT_PARAMETERS, "thinking_budget"),
            "generateContent": GENERATE_PARAMETERS,
            "streamGenerateContent": GENERATE_PARAMETERS,
            "realtime": GENERATE_PARAMETERS,
        }
    )

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        # Google's servers let these headers replace the method: the operation would be another one.
        if any(name in headers for name in METHOD_OVERRIDES):
            return None
        if method == "POST" and (match := _ACTION.fullmatch(path)):
            model, tuned, action = match.groups()
            if action in BATCH_ACTIONS:
                return None if model and "%" in model else Operation(action, Body.JSON, Kind.STORAGE, model or tuned)
            name = unquote(model or tuned)
            if has_unknown_prefix(name.partition("?")[0]):
                return None
            return Operation(action, Body.JSON, Kind.INFERENCE, name, action == "streamGenerateContent")
        if operation := ROUTES.find(method, path):
            return operation
        # An action of a model is never read as anything else, in whatever version or case it is written.
        return None if _ANY_ACTION.fullmatch(path) else ROUTES.find_other(method, path)

    def plain_target(self, target: str) -> str:
        """Return a path with the provider and the parameters of its model's name encoded, and with one slash in front.

        SDKs put a name into the path as it is, or encode a part of it: `gemini-2.5-pro?temperature=0.7` becomes
        `/v1beta/models/gemini-2.5-pro?temperature=0.7:generateContent`.
        """
        if target.startswith(DOUBLE_SLASH):
            return target[1:]
        found = _WRITTEN.fullmatch(target)
        if found is None or not {"?", ":", "/"} & set(found[2]):
            return target
        if has_unknown_prefix(unquote(found[2]).partition("?")[0]):
            return target
        return f"{found[1]}{quote(found[2], safe='%')}:{found[3]}{found[4] or ''}"

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request asks for. Raises Refusal(400)."""
        check_query(query)
        if operation.name in OPENAI_NAMES:
            return as_gemini(_OPENAI.read_request(operation, query, content_type, body))
        check_json_type(content_type)
        if not body and operation.kind is not Kind.INFERENCE:
            return Facts(model=operation.model)
        data = read_body(body)
        if operation.kind is Kind.ADMINISTRATION:
            return Facts()
        refuse_lookalikes(data, KEYS)
        if operation.name == "cachedContents.create":
            return facts_of_contents(operation, data, bare(read_model(data)))
        if operation.name in BATCH_ACTIONS:
            return _facts_of_batch(operation, data)
        if operation.kind is not Kind.INFERENCE:
            return Facts(model=operation.model)
        if operation.name == "interactions.create":
            return _facts_of_interaction(data)
        _check_model(operation, data)
        if operation.name == "embedContent":
            return Facts(model=operation.model, message_count=1 if data.filled("content") else None)
        if operation.name == "batchEmbedContents":
            requests = _objects(data, "requests")
            return Facts(model=operation.model, message_count=sum(_check_model(operation, each) for each in requests))
        if operation.name in ("predict", "predictLongRunning"):
            return Facts(model=operation.model, message_count=_count(data, "instances") or 0)
        if operation.name == "countTokens":
            whole = data.child(one_of(data, "generateContentRequest", "generate_content_request"))
            if whole is not None:
                _check_model(operation, whole)
                data = whole
        return facts_of_contents(operation, data, operation.model)

    def edit_request(  # as in the base class
        self, operation: Operation, target: bytes, content_type: str, body: RequestBody, edits: RequestEdits
    ) -> EditedRequest:
        """Return a recognised, well-formed request with all edits; in OpenAI's format if OpenAI answers it."""
        if edits.provider != _OPENAI.name:
            return super().edit_request(operation, target, content_type, body, edits)
        edited = _OPENAI.edit_request(operation, target, content_type, body, replace(edits, provider=None))
        elsewhere = self.equivalent_target(edited.target, operation, edits.provider)
        assert elsewhere is not None, "the route leads to a provider that answers this operation"
        return replace(edited, target=elsewhere)

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target that means the same at another provider: OpenAI, for what is in its format."""
        if provider == _OPENAI.name and operation.name in AT_GOOGLE and (found := _BELOW_OPENAI.match(target)):
            return b"/v1" + target[found.end() :]
        return super().equivalent_target(target, operation, provider)

    def check_reach(self, operation: Operation) -> None:
        """Raise Refusal(403) for a batch, and where another model would be changed than the caller named."""
        if operation.name in BATCH_ACTIONS:
            raise out_of_reach("a batch, whose requests may be in a file")
        if operation.name in ("models.patch", "models.delete"):
            raise out_of_reach("a change of a model itself")

    def check_model_name(self, model: str) -> None:
        """Raise Refusal(403) if this is no name of a model of Google's, without its collection unless it is tuned."""
        super().check_model_name(model)
        if not _NAME.fullmatch(model):
            raise misnamed(model, "in a request to Gemini; write it without `models/`")

    def model_segment(self, operation: Operation, model: str) -> str:
        """Return a model's name with its collection."""
        if operation.kind is Kind.INFERENCE:
            return model if "/" in model else f"models/{model}"
        return f"models/{plain_segment(model)}"

    def set_model(self, parent: EditableObject, model: str, key: str = "model", *, add: bool = True) -> bool:
        """Name the model in an object as the client did: with its collection or without."""
        asked = parent.members.text(key)
        if (asked is None and not add) or bare(asked) == model:
            return False
        self.check_model_name(model)
        with_collection = asked is not None and "/" in asked and "/" not in model
        parent.set({key: msgspec.json.encode(f"models/{model}" if with_collection else model)})
        return True

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a JSON body, and return whether the model changed."""
        changed = edits.model is not None and self._edit_model(operation, body, edits.model)
        in_openai_format = operation.name in OPENAI_NAMES
        if operation.name == "chat.completions":
            move_google_extras(body)
        if edits.parameters:
            parameters = as_json(edits.parameters)
            if in_openai_format:
                set_chat_parameters(body.root, parameters)
            else:
                set_parameters(body.root, parameters, edits.model or operation.model or "")
        if edits.max_tokens is None:
            return changed
        if operation.name in BATCH_ACTIONS:
            raise uncapped("a batch, which may name its requests by a file")
        if operation.name == "interactions.create":
            group = one_of(body.root.members, "generation_config", "generationConfig")
            inner = body.root.child(group)
            key = one_of(inner.members, "max_output_tokens", "maxOutputTokens") if inner else "max_output_tokens"
            cap_tokens_in_group(body.root, group, key, edits.max_tokens)
        elif operation.name == "chat.completions":
            cap_tokens(body.root, CHAT_LIMITS, "max_tokens", edits.max_tokens)
        elif operation.name in ("generateContent", "streamGenerateContent"):
            cap_output(body.root, edits.max_tokens)
        return changed

    def clamp_temperature(self, operation: Operation, body: EditableBody) -> None:
        """Set a temperature above 1 to 1: in the generation's configuration, or in OpenAI's format at the top."""
        if operation.name in OPENAI_NAMES:
            clamp(body.root)
        else:
            clamp(generation_config(body.root))

    def _edit_model(self, operation: Operation, body: EditableBody, model: str) -> bool:
        if operation.name == "cachedContents.create":
            asks = body.root.members.text("model") is not None
            if asks or "/" in model:
                return self.set_model(body.root, model)
            self.check_model_name(model)
            body.root.set({"model": msgspec.json.encode(f"models/{model}")})
            return True
        if operation.name in (*OPENAI_NAMES, "interactions.create"):
            return self.set_model(body.root, model)
        if operation.model is None:
            return False
        changed = self.set_model(body.root, model, add=False)
        if operation.name == "batchEmbedContents":
            for request in body.root.items("requests"):
                changed = self.set_model(request, model, add=False) or changed
        if operation.name == "countTokens":
            key = one_of(body.root.members, "generateContentRequest", "generate_content_request")
            if whole := body.root.child(key):
                changed = self.set_model(whole, model, add=False) or changed
        return changed


def generation_config(request: EditableObject) -> EditableObject | None:
    """Return the generation's configuration in a request, or None."""
    return request.child(one_of(request.members, "generationConfig", "generation_config"))


def cap_output(request: EditableObject, most: int) -> None:
    """Lower the limit of output tokens in a request, or set it."""
    group = one_of(request.members, "generationConfig", "generation_config")
    inner = request.child(group)
    key = one_of(inner.members, "maxOutputTokens", "max_output_tokens") if inner else "maxOutputTokens"
    cap_tokens_in_group(request, group, key, most)


def as_gemini(facts: Facts) -> Facts:
    """Return what a request in OpenAI's format asks of Gemini."""
    # When asked for usage, its endpoint adds it to every chunk, from which it could not be removed again.
    model = bare(facts.model)
    return replace(facts, model=model, other_models=others(map(bare, facts.other_models), model), asks_usage=True)


def facts_of_contents(operation: Operation, data: JsonObject, model: str | None) -> Facts:
    """Return the facts of a request with contents. Raises Refusal(400)."""
    contents = _count(data, "contents")
    system = one_of(data, "systemInstruction", "system_instruction")
    config = data.child(one_of(data, "generationConfig", "generation_config"))
    if config:
        refuse_lookalikes(config, KEYS)
    tools = collect(_tool_names(data))
    return Facts(
        model=model,
        stream=operation.stream,
        message_count=contents,
        has_system=data.filled(system),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=config.integer(one_of(config, "maxOutputTokens", "max_output_tokens")) if config else None,
        tools=tools.names,
        choices=config.integer(one_of(config, "candidateCount", "candidate_count")) if config else None,
    )


def _facts_of_batch(operation: Operation, data: JsonObject) -> Facts:
    """Return the facts of a batch: a file of requests, or requests in the body, all for the model of the path."""
    batch = data.child("batch")
    asked = 0
    if batch is not None:
        _check_model(operation, batch)
        config = batch.child(one_of(batch, "inputConfig", "input_config"))
        inner = config.child("requests") if config else None
        for entry in _objects(inner, "requests") if inner else ():
            refuse_lookalikes(entry, KEYS | {"request"})
            request = entry.child("request")
            asked += bool(request and _check_model(operation, request))
    return Facts(model=operation.model, message_count=asked or None)


def _facts_of_interaction(data: JsonObject) -> Facts:
    """Return the facts of an interaction, whose tools have a type, and a name if they are functions."""
    tools = collect(named for tool in _objects(data, "tools") for named in names_of(tool))
    config = data.child(one_of(data, "generation_config", "generationConfig"))
    return Facts(
        model=bare(read_model(data)),
        stream=data.flag("stream"),
        has_system=data.filled(one_of(data, "system_instruction", "systemInstruction")),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=config.integer(one_of(config, "max_output_tokens", "maxOutputTokens")) if config else None,
        tools=tools.names,
    )


def _tool_names(data: JsonObject) -> Iterator[Named]:
    """Name every function and MCP server; a built-in tool goes by its member's name in camel case."""
    for tool in _objects(data, "tools"):
        refuse_lookalikes(tool, KEYS)
        declarations = one_of(tool, "functionDeclarations", "function_declarations")
        servers = one_of(tool, "mcpServers", "mcp_servers")
        for key, value in tool.values.items():
            if bytes(memoryview(value)[:5]) == b"null":
                continue
            if key != declarations:
                yield Named(camel(key), counted=key != servers)
            for named in _objects(tool, key) if key in (declarations, servers) else ():
                refuse_lookalikes(named, KEYS)
                yield Named(named.text("name") or "")


def _count(parent: JsonObject, key: str) -> int | None:
    return 1 if parent.starts(key, b"{") else parent.length(key)


def _objects(parent: JsonObject, key: str) -> Iterator[JsonObject]:
    if parent.starts(key, b"{"):
        yield read_object(bytes(parent.values[key]), parent.where(key))
    else:
        yield from parent.children(key)


def _check_model(operation: Operation, data: JsonObject) -> bool:
    """Refuse a body that names another model than the path. Return True, so that `sum` counts requests."""
    refuse_lookalikes(data, KEYS)
    model = data.text("model")
    if model is not None and bare(model) != operation.model:
        raise malformed(
            f"{data.where('model')} is not the model that the path names; name one model, or only in the path"
        )
    return True


def bare(model: str | None) -> str | None:
    """Return a model's name without `models/`."""
    return model.removeprefix("models/") if model else model


def check_query(query: Mapping[str, str]) -> None:
    """Raise Refusal(400) for parameters that change what a request means, or how its response is read."""
    for name in UNREADABLE_PARAMETERS:
        if name in query:
            raise malformed(f"the query parameter {name} changes what the request means; leave it out")
    for name in ("alt", "$alt"):
        if query.get(name, "json").lower() not in READABLE_RESPONSES:
            raise malformed(f"{name}={query[name]!r} asks for a response that cannot be metered; ask for json or sse")
