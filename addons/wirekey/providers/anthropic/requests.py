"""Requests to Anthropic's API: their operations, facts and edits."""

from __future__ import annotations

import re
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.model_name import MESSAGE_PARAMETERS
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.providers.anthropic.formats import MESSAGES
from wirekey.providers.anthropic.references import reads_elsewhere
from wirekey.providers.brought_tools import names_in_messages, tools_in_messages
from wirekey.providers.other_models import OTHER_MODEL_KEYS, others, read_other_models
from wirekey.providers.paths import PathTable, plain_segment, read_rows
from wirekey.providers.price_facts import long_cache, most_uses, once_each, read_modifiers, typed_tools
from wirekey.providers.reasoning import read_reasoning
from wirekey.providers.request_edits import RequestEditor, as_json, cap_tokens, out_of_reach, uncapped
from wirekey.providers.request_json import (
    check_json_type,
    malformed,
    objects,
    read_body,
    read_messages,
    read_model,
    refuse_lookalikes,
)
from wirekey.providers.tools import NAMES_LIMIT, Named, Tools, collect, first_tools, names_of, names_of_servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Modifiers, ToolUses
    from wirekey.providers.json_edits import EditableBody, EditableObject, Members
    from wirekey.providers.request_edits import RequestEdits
    from wirekey.providers.request_json import JsonObject

ROUTES = PathTable(read_rows(__file__))

_MESSAGES = (*MESSAGES.conversations, *MESSAGES.counts)
AGENTS = ("agents.create", "agents.update")
RUNS = ("deployments.run", "sessions.events.create", "sessions.create", "deployments.create", "dreams.create")
"""Operations that have an agent write text, with no limit of tokens that Wirekey knows."""

KEYS = OTHER_MODEL_KEYS | {
    "model",
    "stream",
    "messages",
    "system",
    "tools",
    "max_tokens",
    "requests",
    "params",
    "mcp_servers",
    "service_tier",
    "speed",
    "inference_geo",
}

MOST_MODIFIERS = 16
MODIFIERS = ("service_tier", "speed", "inference_geo")
PAID_TOOLS = {"web_search_": "web_search"}
"""Beginning of a tool's type → the name of the fee for each use."""


class AnthropicRequests(RequestEditor):
    """Reads and edits requests in Anthropic's format."""

    name = "anthropic"
    model_in_path = re.compile(rb"/models/([^/]+)")
    parameters = MappingProxyType({"messages": MESSAGE_PARAMETERS})

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        return ROUTES.find(method, path) or ROUTES.find_other(method, path)

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request asks for. Raises Refusal(400)."""
        check_json_type(content_type)
        if not body and operation.kind is not Kind.INFERENCE:
            return Facts()
        parsed = read_body(body)
        if operation.name == "messages.batches.create":
            return read_batch(parsed)
        return read_message_request(parsed) if operation.name in _MESSAGES else read_other(operation, parsed)

    def check_reach(self, operation: Operation) -> None:
        """Raise Refusal(403) if the model of this operation cannot be changed."""
        if operation.name in AGENTS:
            raise out_of_reach("a stored agent")

    def model_segment(self, operation: Operation, model: str) -> str:
        """Return a model's name as a segment of a path."""
        return plain_segment(model)

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a JSON body, and return whether the model changed."""
        if operation.name not in (*_MESSAGES, "messages.batches.create"):
            if edits.max_tokens is not None and operation.name in RUNS:
                raise uncapped("a session of an agent")
            return False
        if operation.name != "messages.batches.create":
            return self._edit_message(body.root, edits, writes_text=operation.name == "messages")
        changed = False
        for request in body.root.items("requests"):
            params = request.child("params")
            if params is None:
                raise malformed(f"{request.members.place} has no params")
            changed = self._edit_message(params, edits) or changed
        return changed

    def _edit_message(self, request: EditableObject, edits: RequestEdits, *, writes_text: bool = True) -> bool:
        changed = edits.model is not None and self.set_model(request, edits.model)
        if edits.parameters:
            request.set(parameter_members(edits))
        if edits.max_tokens is not None and writes_text:
            cap_message(request, edits.max_tokens)
        return changed


def parameter_members(edits: RequestEdits) -> Members:
    """Return the members of a request for a message that hold the parameters of its model's name.

    https://platform.claude.com/docs/en/build-with-claude/extended-thinking and …/effort
    """
    members: dict[str, bytes | Members] = dict(as_json(edits.parameters))
    if effort := members.pop("reasoning_effort", None):
        members["output_config"] = {"effort": effort}
    budget = dict(edits.parameters).get("thinking_budget")
    if members.pop("thinking_budget", None) is not None:
        members["thinking"] = (
            b'{"type":"enabled","budget_tokens":%d}' % budget
            if isinstance(budget, int) and budget > 0
            else b'{"type":"disabled"}'
            if budget == 0
            else b'{"type":"adaptive"}'
        )
    return members


def cap_message(request: EditableObject, cap: int) -> None:
    """Cap a request for a message, and those of its fallbacks that have a limit of their own."""
    cap_tokens(request, ("max_tokens",), "max_tokens", cap)
    if request.members.starts("fallbacks", b"["):
        for fallback in request.items("fallbacks"):
            if fallback.members.integer("max_tokens") is not None:
                cap_tokens(fallback, ("max_tokens",), "max_tokens", cap)


def read_message_request(body: JsonObject) -> Facts:
    """Return the facts of a request for a message."""
    return _read_message_request(body)[0]


def _read_message_request(body: JsonObject) -> tuple[Facts, Tools]:
    refuse_lookalikes(body, KEYS)
    messages = read_messages(body, "messages")
    offered = first_tools(chain(body.children("tools"), tools_in_messages(body)))
    tools = message_tools(body, offered)
    model = read_model(body)
    other_models = read_other_models(body, offered, model)  # bounds the number of fallbacks that are read below
    # A fallback may have a limit of its own.
    limits = (limited.integer("max_tokens") for limited in chain((body,), objects(body, "fallbacks")))
    facts = Facts(
        model=model,
        stream=body.flag("stream"),
        message_count=messages.count if messages else None,
        has_system=body.filled("system") or bool(messages and "system" in messages.roles),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=max((limit for limit in limits if limit is not None), default=None),
        tools=tools.names,
        other_models=other_models,
        reads_elsewhere=reads_elsewhere(body, offered),
        reasoning=read_reasoning(body, "thinking", "budget_tokens"),
        modifiers=message_modifiers(body),
        paid_tools=paid_tools(offered),
    )
    return facts, tools


def message_modifiers(body: JsonObject) -> Modifiers:
    """Return what a request of Anthropic's shape asks for that changes its price. A fallback may ask for more."""
    found = [*read_modifiers(body, *MODIFIERS), *long_cache(body)]
    for fallback in objects(body, "fallbacks"):
        found += read_modifiers(fallback, "speed")
    return tuple(dict.fromkeys(found))


def paid_tools(offered: Iterable[JsonObject]) -> ToolUses:
    """Return the tools with a fee that a request of Anthropic's shape offers, with their limits of uses."""
    return once_each((name, most_uses([tool.integer("max_uses")])) for tool, name in typed_tools(offered, PAID_TOOLS))


def message_tools(body: JsonObject, offered: Iterable[JsonObject]) -> Tools:
    """Name the tools of a request of Anthropic's shape: those offered, those its messages name, and its MCP servers."""
    return collect(_message_names(body, offered))


def _message_names(body: JsonObject, offered: Iterable[JsonObject]) -> Iterator[Named]:
    known: set[str] = set()
    for tool in offered:
        for named in names_of(tool):
            known.add(named.name)
            yield named
    yield from names_in_messages(body)
    yield from names_of_servers(body, known)


def read_other(operation: Operation, body: JsonObject) -> Facts:
    """Return the facts of what is not a request for a message. The model of a stored agent may be an object."""
    refuse_lookalikes(body, KEYS)
    if operation.name not in AGENTS:
        return Facts()
    model = body.child("model") if body.starts("model", b"{") else body
    tools = message_tools(body, body.children("tools"))
    return Facts(
        model=read_model(body) if model is body else read_model(model, "id") if model else None,
        has_system=body.filled("system"),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        tools=tools.names,
    )


def read_batch(body: JsonObject) -> Facts:
    """Read the facts of a batch as one: its messages and tools together, the largest of its limits.

    All its requests must ask for the same model, as a call has one model that policy decides on.
    """
    refuse_lookalikes(body, KEYS)
    models: set[str | None] = set()
    message_count, has_system, max_tokens = 0, False, None
    named: dict[Named, None] = {}
    modifiers: dict[tuple[str, str], None] = {}
    paid: list[tuple[str, int | None]] = []
    named_models: dict[str, None] = {}
    for request in body.children("requests"):
        refuse_lookalikes(request, KEYS)
        params = request.child("params")
        if params is None:
            raise malformed(f"{request.place} has no params")
        facts, offered = _read_message_request(params)
        models.add(facts.model)
        if len(models) > 1:
            raise malformed("its requests ask for different models; send one batch for each model")
        message_count += facts.message_count or 0
        has_system = has_system or bool(facts.has_system)
        max_tokens = max((limit for limit in (max_tokens, facts.max_tokens) if limit is not None), default=None)
        modifiers.update(dict.fromkeys(facts.modifiers))
        if len(modifiers) > MOST_MODIFIERS:
            raise malformed(f"its requests name more than {MOST_MODIFIERS} tiers, speeds and places")
        paid += facts.paid_tools
        named.update(dict.fromkeys(offered.named))
        if len(named) > NAMES_LIMIT:
            break
        named_models.update(dict.fromkeys(others(facts.other_models, None)))
    tools = collect(named)
    model = models.pop() if models else None
    return Facts(
        model=model,
        message_count=message_count,
        has_system=has_system,
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=max_tokens,
        tools=tools.names,
        other_models=others(named_models, model),
        modifiers=tuple(modifiers),
        paid_tools=once_each(paid),
    )
