"""The names of the tools that a request offers, groups of tools and MCP servers included. Never their text.

A group is named and its tools are counted: an OpenAI namespace, an MCP toolset. An MCP server whose tools the request
does not list counts as one tool.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wirekey.providers.request_json import malformed, refuse_lookalikes

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from wirekey.providers.request_json import JsonObject

NAMES_LIMIT = 1024
"""More names than this are refused while they are read. A policy decides on as many (`MOST_TOOLS`)."""
DEPTH_LIMIT = 4
USUAL_MEMBERS = 32
"""Members of a tool that are kept without a look at them."""

_TOOL_KEYS = frozenset(
    [
        *("name", "type", "function", "custom", "tools", "model", "svg", "definition"),
        *("max_uses", "container", "memory_limit"),
        *("server_label", "allowed_tools", "tool_names", "mcp_server_name", "configs", "tool_configuration"),
    ]
)
_text = msgspec.json.Decoder(str)


class Named(NamedTuple):
    """The name of a tool, or of a group of tools."""

    name: str
    counted: bool = True
    """False for the name of a group, whose tools are counted instead."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of one request, in its order."""

    named: tuple[Named, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, groups included."""
        return tuple(name for name, _ in self.named)

    @property
    def count(self) -> int:
        """How many tools there are, without groups."""
        return sum(counted for _, counted in self.named)


def collect(named: Iterable[Named]) -> Tools:
    """Collect names, in their order. Raises Refusal(400) if there are more than NAMES_LIMIT."""
    found = tuple(itertools.islice(named, NAMES_LIMIT + 1))
    if len(found) > NAMES_LIMIT:
        raise malformed(f"it offers more than {NAMES_LIMIT} tools")
    return Tools(found)


def first_tools(tools: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the tools that a request offers. Of too many, it returns as many as `collect` refuses.

    Of a tool with many members, only those are kept that name something. Raises Refusal(400) if one looks like them.
    """
    return [
        tool if len(tool.values) <= USUAL_MEMBERS else _naming_members(tool)
        for tool in itertools.islice(tools, NAMES_LIMIT + 1)
    ]


def _naming_members(tool: JsonObject) -> JsonObject:
    refuse_lookalikes(tool, _TOOL_KEYS)
    return replace(tool, values={key: value for key, value in tool.values.items() if key in _TOOL_KEYS})


def names_of(tool: JsonObject, depth: int = 0) -> Iterator[Named]:
    """Name one tool as OpenAI, Anthropic, Mistral or Cohere write it, and the tools in it.

    A tool that the provider runs itself has no name, so its type stands for one. A tool that states its name in two
    places gets both.
    """
    if depth > DEPTH_LIMIT:
        raise malformed(f"{tool.place[:64]} is a tool nested more than {DEPTH_LIMIT} deep")
    refuse_lookalikes(tool, _TOOL_KEYS)
    if tool.filled("server_label") or tool.filled("mcp_server_name"):
        yield from _names_of_server_tool(tool)
        return
    inner = [function.text("name") or "" for key in ("function", "custom") if (function := tool.child(key))]
    names = dict.fromkeys([*inner, *filter(None, [tool.text("name")])]) or [tool.text("type") or ""]
    nested = tool.filled("tools")
    is_group = nested or tool.text("type") == "namespace"
    for position, name in enumerate(names):
        yield Named(name, counted=position == 0 and not is_group)
    if nested:
        for child in tool.children("tools"):
            yield from names_of(child, depth + 1)


def names_of_servers(body: JsonObject, known: Container[str]) -> Iterator[Named]:
    """Name the MCP servers that Anthropic's provider is to connect to, and the tools they are limited to.

    `known` are the names already read: a server that a toolset names is not named again.
    """
    for server in body.children("mcp_servers"):
        refuse_lookalikes(server, _TOOL_KEYS)
        name = server.text("name") or ""
        configuration = server.child("tool_configuration")
        allowed = _strings(configuration, "allowed_tools") if configuration else []
        if name not in known:
            yield Named(name, counted=not allowed)
        yield from map(Named, allowed)


def _names_of_server_tool(tool: JsonObject) -> Iterator[Named]:
    inside = list(dict.fromkeys(_listed_by(tool)))
    yield Named(tool.text("type") or "mcp", counted=False)
    for position, key in enumerate(key for key in ("server_label", "mcp_server_name", "name") if tool.filled(key)):
        yield Named(tool.text(key) or "", counted=position == 0 and not inside)
    yield from map(Named, inside)


def _listed_by(tool: JsonObject) -> Iterator[str]:
    """List the tools that an MCP tool or toolset is limited to, pins, or configures without disabling them."""
    if tool.starts("allowed_tools", b"{"):
        allowed = tool.child("allowed_tools")
        yield from _strings(allowed, "tool_names") if allowed else ()
    else:
        yield from _strings(tool, "allowed_tools")
    for pinned in tool.children("tools"):
        refuse_lookalikes(pinned, _TOOL_KEYS)
        yield pinned.text("name") or ""
    configs = tool.child("configs")
    for name in configs.values if configs else ():
        configuration = configs.child(name) if configs else None
        if configuration is None or bytes(configuration.values.get("enabled", b"")) != b"false":
            yield name


def _strings(parent: JsonObject, key: str) -> list[str]:
    try:
        return [_text.decode(raw) for raw in parent.array(key) or ()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed(f"{parent.where(key)} must be an array of strings") from None
