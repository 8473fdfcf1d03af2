"""Requests to OpenAI's API: their operations, facts and edits."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote

from wirekey.core.body import Body
from wirekey.core.errors import Refusal
from wirekey.core.model_name import CHAT_PARAMETERS, PENALTIES, SAMPLING
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.providers.brought_tools import tools_in_items
from wirekey.providers.json_edits import apply_edits
from wirekey.providers.multipart import is_form, read_fields
from wirekey.providers.openai.formats import RESPONSES
from wirekey.providers.openai.google_extras import move_google_extras, set_chat_parameters
from wirekey.providers.openai.references import chat_reads_elsewhere, content_refers, response_reads_elsewhere
from wirekey.providers.other_models import OTHER_MODEL_KEYS, others, read_other_models
from wirekey.providers.paths import PathTable, plain_segment, read_rows
from wirekey.providers.price_facts import LONGEST_VALUE, most_uses, once_each, read_modifiers, typed_tools
from wirekey.providers.reasoning import read_reasoning
from wirekey.providers.request_edits import RequestEditor, as_json, cap_tokens, out_of_reach, uncapped
from wirekey.providers.request_json import (
    check_json_type,
    check_model,
    malformed,
    read_body,
    read_messages,
    read_model,
    refuse_lookalikes,
)
from wirekey.providers.tools import Named, collect, first_tools, names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.core.operation import ToolUses
    from wirekey.providers.json_edits import EditableBody, EditableObject, Members
    from wirekey.providers.request_edits import RequestEdits
    from wirekey.providers.request_json import JsonObject

ROUTES = PathTable(read_rows(__file__))

RUNS = ("threads.runs.create", "threads.create_and_run")
ASSISTANTS = ("assistants.create", "assistants.update")
WITHOUT_LIMIT = {
    "batches.create": "a batch, whose requests are in a file",
    "evals.runs.create": "an evaluation, whose requests are stored",
    "agents.sessions.create": "a session of an agent",
    "agents.sessions.events.create": "a session of an agent",
    "agents.automations.invocations.create": "an automation of an agent",
}
"""Operations that have text written, with no limit of tokens that Wirekey knows, and what they are."""

MODEL_IN_BODY = frozenset(
    [
        *("chat.completions", "completions", "embeddings", "moderations"),
        *("responses", "responses.compact", "responses.input_tokens"),
        *("images.generations", "images.edits", "images.variations"),
        *("audio.speech", "audio.transcriptions", "audio.translations"),
        *("videos.create", "decisions", "fine_tuning.jobs.create", *RUNS, *ASSISTANTS),
    ]
)
"""Operations whose body has a member or form field `model`. To others it means nothing, so policy does not see it."""

FORM_OR_JSON = ("images.edits", "videos.create")

SYSTEM_ROLES = {"system", "developer"}

PAID_TOOLS = {
    "web_search": "web_search",
    "web_search_preview": "web_search_preview",
    "file_search": "file_search",
    "code_interpreter": "code_interpreter",
    "image_generation": "image_generation",
}
"""Beginning of a tool's type → the name of the fee for each use."""
SMALLEST_CONTAINER, LARGEST_CONTAINER = "1g", "_64g"
SEARCHES = "-search-"
"""In the names of models that search by themselves."""

KEYS = frozenset(
    [
        *("model", "stream", "stream_options", "stream_format", "messages", "input", "instructions", "prompt"),
        *("tools", "functions", "web_search_options", "max_tokens", "max_completion_tokens", "max_output_tokens"),
        *("n", "service_tier", "max_tool_calls"),
        *OTHER_MODEL_KEYS,
    ],
)

_OPTION_KEYS = frozenset({"include_usage"})

AT_GOOGLE = ("chat.completions", "embeddings", "images.generations", "models.list", "models.get")
"""Operations that Google answers in this format: https://ai.google.dev/gemini-api/docs/openai"""

CHAT_LIMITS = ("max_completion_tokens", "max_tokens")
INCLUDE_USAGE = b'{"include_usage":true}'
_MODEL_PARAMETER = re.compile(rb"[?&]model=([^&]*)")
_LIST_OF_PROMPTS = re.compile(rb'\[[ \t\r\n]*["\[]')


class OpenAiRequests(RequestEditor):
    """Reads and edits requests in OpenAI's format."""

    name = "openai"
    model_in_path = re.compile(rb"/models/([^/]+)")
    parameters = MappingProxyType(
        {
            "chat.completions": CHAT_PARAMETERS,
            "completions": (*SAMPLING, "max_tokens", *PENALTIES),
            "responses": (*SAMPLING, "max_tokens", "reasoning_effort", "verbosity"),
        }
    )

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        operation = ROUTES.find(method, path) or ROUTES.find_other(method, path)
        if operation and operation.name in FORM_OR_JSON and not is_form(headers.get("content-type", "")):
            return replace(operation, body=Body.JSON)
        return operation

    def read_upgrade(self, operation: Operation, query: Mapping[str, str]) -> Operation:
        """Return the operation of a request that opens a WebSocket, with its model. Raises Refusal(400)."""
        model = query.get("model")
        if operation.name in RESPONSES.connections:
            if model is not None:
                raise Refusal(400, "malformed", "Each event of this connection names its model, and not the address.")
            return operation
        if model is None and not ("intent" in query or "call_id" in query):
            raise Refusal(400, "malformed", "The request names no model. Add it to the address: ?model=NAME.")
        if model is not None:
            check_model(model)
        return replace(operation, model=model)

    def _target_with_model(self, operation: Operation, target: bytes, model: str) -> bytes:
        if operation.body is not Body.WEBSOCKET:
            return super()._target_with_model(operation, target, model)
        self.check_model_name(model)
        found = _MODEL_PARAMETER.search(target)
        assert found, "the query of the operation names its model"
        return apply_edits(target, [(*found.span(1), quote(model, safe="").encode())])

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request asks for. Raises Refusal(400)."""
        if operation.body is Body.MULTIPART:
            return read_form(content_type, body)
        check_json_type(content_type)
        if not body and operation.kind is not Kind.INFERENCE:
            return Facts()
        parsed = read_body(body)
        if operation.kind is Kind.ADMINISTRATION:
            return Facts()
        refuse_lookalikes(parsed, KEYS)
        if operation.name == "chat.completions":
            return read_chat(parsed)
        if operation.name.startswith("responses"):
            return read_responses(parsed)
        return read_other(operation, parsed)

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target that means the same at another provider. Google answers some operations of this format."""
        if provider == "gemini" and operation.name in AT_GOOGLE:
            return b"/v1beta/openai" + target.removeprefix(b"/v1")
        return super().equivalent_target(target, operation, provider)

    def check_reach(self, operation: Operation) -> None:
        """Raise Refusal(403) for a batch, and where another model would be deleted than the caller named."""
        if operation.name == "batches.create":
            raise out_of_reach("a batch, whose requests are in a file")
        if operation.name == "models.delete":
            raise out_of_reach("the deletion of a model")

    def model_segment(self, operation: Operation, model: str) -> str:
        """Return a model's name as a segment of a path."""
        return plain_segment(model)

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a JSON body, and return whether the model changed."""
        changed = False
        if edits.model is not None and operation.name in MODEL_IN_BODY:
            changed = self.set_model(body.root, edits.model)
        if edits.provider == "gemini" and operation.name == "chat.completions":
            move_google_extras(body)
        if edits.parameters:
            members = parameter_members(operation, body.root, edits)
            if edits.google_reads:
                set_chat_parameters(body.root, members)
            else:
                body.root.set(members)
        if edits.max_tokens is not None:
            cap_request(operation, body, edits.max_tokens)
        return changed

    def request_usage(self, body: EditableBody, edits: RequestEdits) -> bool:
        """Set `stream_options.include_usage`, and return whether that was possible.

        Never at Google, which would add the counts to every chunk, from which they cannot be removed again.
        """
        return edits.provider in (None, self.name) and set_usage_option(body)


def parameter_members(operation: Operation, body: EditableObject, edits: RequestEdits) -> Members:
    """Return the members of a request that hold the parameters of its model's name."""
    members: dict[str, bytes | Members] = {}
    for name, value in as_json(edits.parameters).items():
        if operation.name == "chat.completions" and name == "max_tokens":
            is_older = "max_tokens" in body.members.values or edits.provider == "gemini"
            members["max_tokens" if is_older else "max_completion_tokens"] = value
        elif operation.name == "responses" and name == "reasoning_effort":
            members["reasoning"] = {"effort": value}
        elif operation.name == "responses" and name == "verbosity":
            members["text"] = {"verbosity": value}
        elif operation.name == "responses" and name == "max_tokens":
            members["max_output_tokens"] = value
        else:
            members[name] = value
    return members


def cap_request(operation: Operation, body: EditableBody, cap: int) -> None:
    """Cap the output tokens of operations that write text. Raises Refusal(403) for a batch."""
    if what := WITHOUT_LIMIT.get(operation.name):
        raise uncapped(what)
    if operation.name == "chat.completions":
        cap_tokens(body.root, CHAT_LIMITS, "max_completion_tokens", cap)
    elif operation.name == "completions":
        cap_tokens(body.root, ("max_tokens",), "max_tokens", cap)
    elif operation.name in RUNS:
        cap_tokens(body.root, ("max_completion_tokens",), "max_completion_tokens", cap)
    elif operation.name == "responses":
        cap_tokens(body.root, ("max_output_tokens",), "max_output_tokens", cap)


def set_usage_option(body: EditableBody) -> bool:
    """Set `stream_options.include_usage`, and return whether that was possible.

    It is not if the body has no members, or if `stream_options` is not an object. The provider refuses such a body.
    """
    try:
        options = body.root.child("stream_options")
    except Refusal:
        return False
    if not body.root.members.values:
        return False
    if options is not None and options.members.values:
        options.set({"include_usage": b"true"})
    else:
        body.root.set({"stream_options": INCLUDE_USAGE})
    return True


def read_chat(body: JsonObject) -> Facts:
    """Return the facts of a chat."""
    messages = read_messages(body, "messages")
    offered = first_tools(body.children("tools"))
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
        choices=body.integer("n"),
        asks_usage=asks_usage(body),
        reads_elsewhere=chat_reads_elsewhere(body, messages, offered),
        reasoning=read_reasoning(body, "reasoning_effort") or read_reasoning(body, "reasoning", "effort", "max_tokens"),
        modifiers=read_modifiers(body, "service_tier"),
        paid_tools=(("search_model", 1),) if body.filled("web_search_options") or SEARCHES in (model or "") else (),
    )


def read_responses(body: JsonObject) -> Facts:
    """Return the facts of a request to the Responses API."""
    text = body.starts("input", b'"')
    offered = first_tools(chain(body.children("tools"), tools_in_items(body)))
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
        reads_elsewhere=response_reads_elsewhere(body, items, offered),
        reasoning=read_reasoning(body, "reasoning", "effort"),
        modifiers=read_modifiers(body, "service_tier"),
        paid_tools=paid_tools(offered, body.integer("max_tool_calls")),
    )


def paid_tools(offered: Iterable[JsonObject], limit: int | None) -> ToolUses:
    """Return the tools with a fee that a request offers, with its limit of uses."""
    return once_each((priced_name(tool, name), most_uses([limit])) for tool, name in typed_tools(offered, PAID_TOOLS))


def priced_name(tool: JsonObject, name: str) -> str:
    """Return the name of a tool's fee, with the memory of its container if that is not the smallest."""
    if not tool.starts("container", b"{") or (container := tool.child("container")) is None:
        return f"{name}{LARGEST_CONTAINER}" if tool.filled("container") else name
    memory = container.text("memory_limit")
    return name if memory in (None, SMALLEST_CONTAINER) else f"{name}_{memory}"[:LONGEST_VALUE]


def read_other(operation: Operation, body: JsonObject) -> Facts:
    """Read the facts of what has no messages: completions, embeddings, images, speech, storage."""
    stream = body.flag("stream")
    if operation.name == "audio.speech":
        stream = stream or body.text("stream_format") == "sse"
    completes = operation.name == "completions"
    model = read_model(body) if operation.name in MODEL_IN_BODY else None
    takes_tools = operation.name in (*RUNS, *ASSISTANTS)
    tools = collect(chat_tools(body, body.children("tools"))) if takes_tools else None
    limit = "max_completion_tokens" if operation.name in RUNS else "max_tokens"
    return Facts(
        model=model,
        stream=stream,
        message_count=prompt_count(body) if completes else None,
        has_system=body.filled("instructions") if takes_tools else None,
        has_tools=bool(tools.names) if tools else None,
        tool_count=tools.count if tools else None,
        tools=tools.names if tools else (),
        max_tokens=body.integer(limit) if completes or operation.name in RUNS else None,
        other_models=read_other_models(body, (), model),
        choices=body.integer("n") if completes else None,
        asks_usage=asks_usage(body) if completes else True,
        reads_elsewhere=operation.kind is Kind.INFERENCE and content_refers(body),
        modifiers=read_modifiers(body, "service_tier"),
    )


def read_form(content_type: str, body: RequestBody) -> Facts:
    """Return the facts of a form: a file to transcribe, or an image to edit."""
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
    for tool in chain(offered, body.children("functions")):
        yield from names_of(tool)
    if body.filled("web_search_options"):
        yield Named("web_search")


def prompt_count(body: JsonObject) -> int | None:
    """Count prompts: a string, a list of them, a list of tokens, or a list of such lists."""
    prompt = body.values.get("prompt")
    if prompt is not None and _LIST_OF_PROMPTS.match(memoryview(prompt)):
        return body.length("prompt") or 0
    return 1 if body.filled("prompt") else None


def asks_usage(body: JsonObject) -> bool:
    """Return whether a stream ends with its token counts, as far as the request says; True if it is no stream."""
    if not body.flag("stream"):
        return True
    options = body.child("stream_options")
    if options:
        refuse_lookalikes(options, _OPTION_KEYS)
    return options is not None and options.flag("include_usage")
