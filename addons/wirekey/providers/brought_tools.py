"""Tools that the messages of a conversation bring along, in addition to those that the request offers as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.providers.rare_members import IN_MESSAGES, has_escapes, may_have
from wirekey.providers.request_json import objects
from wirekey.providers.tools import Named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.core.body import RequestBody
    from wirekey.providers.request_json import JsonObject


def tools_in_messages(body: JsonObject) -> Iterator[JsonObject]:
    """Return the tools that messages of Anthropic's shape define (`tool_addition`)."""
    for block in _blocks(body, b"tool_definition"):
        for change in _additions(block):
            if (tool := change.child("tool")) and (definition := tool.child("definition")):
                yield definition


def names_in_messages(body: JsonObject) -> Iterator[Named]:
    """Return the names of MCP tools that messages of Anthropic's shape refer to or list."""
    for block in _blocks(body, b"mcp_tool_reference", b"mcp_tool_listing"):
        for change in _additions(block):
            tool = change.child("tool")
            if tool and tool.text("type") == "mcp_tool_reference":
                yield Named(tool.text("name") or "")
        if block.text("type") == "mcp_tool_listing":
            for listed in block.children("tools"):
                yield Named(listed.text("name") or "")


def tools_in_items(body: JsonObject) -> Iterator[JsonObject]:
    """Return the tools that items of OpenAI's responses bring."""
    types = (b"additional_tools", b"tool_search_output")
    if not could_mention(body.data, *types):
        return
    for item in objects(body, "input"):
        if "tools" in item.values and (item.text("type") or "").encode() in types:
            yield from item.children("tools")


def could_mention(data: RequestBody, *words: bytes) -> bool:
    """Return whether JSON text may hold one of these ASCII words, so that long conversations need not be decoded."""
    return any(word in data for word in words) or has_escapes(data)


def _blocks(body: JsonObject, *words: bytes) -> Iterator[JsonObject]:
    """Return the content blocks of all messages, if one of these words is in them."""
    if not may_have(body, IN_MESSAGES) or not could_mention(body.data, *words):
        return
    for message in objects(body, "messages"):
        yield from objects(message, "content")


def _additions(block: JsonObject) -> Iterator[JsonObject]:
    """Return the additions that a block makes: itself, or those that a compaction repeats."""
    if block.text("type") == "tool_addition":
        yield block
    for change in objects(block, "tool_changes"):
        if change.text("type") == "tool_addition":
            yield change
