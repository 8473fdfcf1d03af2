"""The facts of requests in Gemini's format, read as leniently as Google's servers do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.model_name import ModelName, ModelNameError
from wirekey.core.operation import Facts, Operation
from wirekey.providers.gemini.parameters import camel
from wirekey.providers.gemini.references import interaction_reads_elsewhere, reads_elsewhere
from wirekey.providers.other_models import others
from wirekey.providers.price_facts import once_each, read_value
from wirekey.providers.reasoning import read_reasoning
from wirekey.providers.request_json import (
    malformed,
    one_of,
    read_model,
    read_object,
    refuse_lookalikes,
)
from wirekey.providers.tools import NAMES_LIMIT, Named, collect, first_tools, names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wirekey.core.operation import Modifiers, ToolUses
    from wirekey.providers.request_json import JsonObject

KEYS = frozenset(
    spelling
    for name in (
        *("model", "contents", "content", "instances", "requests", "tools", "system_instruction", "generation_config"),
        *("max_output_tokens", "function_declarations", "mcp_servers", "generate_content_request", "name"),
        *("candidate_count", "service_tier"),
    )
    for spelling in (name, camel(name))
)
"""Members that are read, in both of their spellings."""
PAID_TOOLS = {
    "googleSearch": "web_search",
    "googleSearchRetrieval": "web_search",
    "enterpriseWebSearch": "enterprise_web_search",
    "googleMaps": "google_maps",
}
"""Tool → the name of its fee."""
MOST_USES = {"googleMaps": 1, "enterpriseWebSearch": 1}
"""How often a request pays for a tool at most."""


def as_gemini(facts: Facts) -> Facts:
    """Return what a request in OpenAI's format asks of Gemini."""
    # When asked for usage, its endpoint adds it to every chunk, from which it could not be removed again.
    model = bare(facts.model)
    return replace(facts, model=model, other_models=others(map(bare, facts.other_models), model), asks_usage=True)


def facts_of_contents(operation: Operation, data: JsonObject, model: str | None) -> Facts:
    """Return the facts of a request with contents. Raises Refusal(400)."""
    contents = count_of(data, "contents")
    system = one_of(data, "systemInstruction", "system_instruction")
    config = data.child(one_of(data, "generationConfig", "generation_config"))
    if config:
        refuse_lookalikes(config, KEYS)
    kinds: set[str] = set()
    tools = collect(tool_names(data, kinds))
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
        reads_elsewhere=reads_elsewhere(data, kinds),
        reasoning=thinking_of(config) if config else None,
        modifiers=modifiers_of(data),
        paid_tools=paid_tools(tools.names),
    )


def thinking_of(config: JsonObject) -> str | int | None:
    """Return the budget or the level of thinking."""
    names = ("thinkingBudget", "thinking_budget", "thinkingLevel", "thinking_level")
    return read_reasoning(config, one_of(config, "thinkingConfig", "thinking_config"), *names)


def modifiers_of(data: JsonObject) -> Modifiers:
    """Return what a request asks for that changes its price."""
    value = read_value(data, one_of(data, "serviceTier", "service_tier"))
    return () if value is None else (("service_tier", value),)


def paid_tools(names: Iterable[str]) -> ToolUses:
    """Return the tools with a fee among the names of tools. A function of such a name counts as one, too."""
    return once_each(
        (PAID_TOOLS[camel(name)], MOST_USES.get(camel(name))) for name in names if camel(name) in PAID_TOOLS
    )


def facts_of_batch(operation: Operation, data: JsonObject) -> Facts:
    """Return the facts of a batch: a file of requests, or requests in the body, all for the model of the path."""
    batch = data.child("batch")
    requests = 0
    if batch is not None:
        check_model(operation, batch)
        config = batch.child(one_of(batch, "inputConfig", "input_config"))
        inner = config.child("requests") if config else None
        for entry in objects_of(inner, "requests") if inner else ():
            refuse_lookalikes(entry, KEYS | {"request"})
            request = entry.child("request")
            requests += bool(request and check_model(operation, request))
    return Facts(model=operation.model, message_count=requests or None)


def facts_of_interaction(data: JsonObject) -> Facts:
    """Return the facts of an interaction, whose tools have a type, and a name if they are functions."""
    offered = first_tools(objects_of(data, "tools"))
    tools = collect(named for tool in offered for named in names_of(tool))
    config = data.child(one_of(data, "generation_config", "generationConfig"))
    return Facts(
        model=bare(read_model(data)),
        stream=data.flag("stream"),
        has_system=data.filled(one_of(data, "system_instruction", "systemInstruction")),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=config.integer(one_of(config, "max_output_tokens", "maxOutputTokens")) if config else None,
        tools=tools.names,
        reads_elsewhere=interaction_reads_elsewhere(data, offered),
        modifiers=modifiers_of(data),
        paid_tools=paid_tools(tools.names),
    )


def tool_names(data: JsonObject, kinds: set[str]) -> Iterator[Named]:
    """Name every function and MCP server; a built-in tool goes by its member's name in camel case.

    `kinds`: a set that gets the name of each member in camel case.
    """
    for position, tool in enumerate(objects_of(data, "tools")):
        if position == NAMES_LIMIT:  # an empty one has no name to count
            raise malformed(f"it offers more than {NAMES_LIMIT} tools")
        refuse_lookalikes(tool, KEYS)
        declarations = one_of(tool, "functionDeclarations", "function_declarations")
        servers = one_of(tool, "mcpServers", "mcp_servers")
        for key, value in tool.values.items():
            if bytes(memoryview(value)[:5]) == b"null":
                continue
            kinds.add(camel(key))
            if key != declarations:
                yield Named(camel(key), counted=key != servers)
            for named in objects_of(tool, key) if key in (declarations, servers) else ():
                refuse_lookalikes(named, KEYS)
                yield Named(named.text("name") or "")


def count_of(parent: JsonObject, key: str) -> int | None:
    """Return the number of elements of a member. One object stands for a list of one."""
    return 1 if parent.starts(key, b"{") else parent.length(key)


def objects_of(parent: JsonObject, key: str) -> Iterator[JsonObject]:
    """Yield the objects of a member. One object stands for a list of one."""
    if parent.starts(key, b"{"):
        yield read_object(bytes(parent.values[key]), parent.where(key))
    else:
        yield from parent.children(key)


def check_model(operation: Operation, data: JsonObject) -> bool:
    """Refuse a body that names another model than the path. Return True, so that `sum` counts requests."""
    refuse_lookalikes(data, KEYS)
    model = data.text("model")
    if model is not None and bare(model) not in (operation.model, plain_name(operation.model)):
        raise malformed(
            f"{data.where('model')} is not the model that the path names; name one model, or only in the path"
        )
    return True


def plain_name(model: str | None) -> str | None:
    """Return the name of a model in a path without the provider and the parameters that the client wrote to it."""
    try:
        return ModelName.parse(model).name if model else None
    except ModelNameError:
        return None


def bare(model: str | None) -> str | None:
    """Return a model's name without `models/`."""
    return model.removeprefix("models/") if model else model
