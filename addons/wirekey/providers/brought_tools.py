"""Tools that the messages of a conversation bring along, besides those that the request offers as such."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.providers.request_json import objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.providers.request_json import JsonObject
    from wirekey.wire.request_body import RequestBody

# Of printable ASCII. Other escapes, which many clients write, cannot hide a word that is looked for.
_ESCAPED = re.compile(rb"\\u00[2-7]")


def tools_in_messages(body: JsonObject) -> Iterator[JsonObject]:
    """Give the tools that messages of Anthropic's shape define (`tool_addition`)."""
    if not could_mention(body.data, b"tool_definition"):
        return
    for message in objects(body, "messages"):
        for block in objects(message, "content"):
            if block.text("type") == "tool_addition" and (tool := block.child("tool")):
                definition = tool.child("definition")
                if definition is not None:
                    yield definition


def tools_in_items(body: JsonObject) -> Iterator[JsonObject]:
    """Give the tools that items of OpenAI's responses bring."""
    types = (b"additional_tools", b"tool_search_output")
    if not could_mention(body.data, *types):
        return
    for item in objects(body, "input"):
        if "tools" in item.values and (item.text("type") or "").encode() in types:
            yield from item.children("tools")


def could_mention(data: RequestBody, *words: bytes) -> bool:
    """Say whether JSON text may hold one of these ASCII words, so that long conversations need not be decoded."""
    return any(word in data for word in words) or (b"\\u00" in data and _ESCAPED.search(data) is not None)
