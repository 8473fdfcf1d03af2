"""The ordinary items of Responses: messages of text, calls of functions and their results.

Most items of a large request are such. They are decoded into one type, which takes a fifth of the time of reading them
member by member. An item that has anything else is left to `read_request`, which reads the same from these.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.members import NOT_DECODED

_NOTHING = Raw()


class _TextPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: Raw = _NOTHING
    logprobs: Raw = _NOTHING


class _Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["message", "function_call", "function_call_output"] = "message"  # SDKs leave out that of a message
    role: Literal["user", "assistant"] | None = None
    content: str | list[_TextPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | None = None
    id: Raw = _NOTHING
    status: Raw = _NOTHING
    phase: Raw = _NOTHING


_DECODER = msgspec.json.Decoder(_Item)


def ordinary_item(raw: Raw) -> tuple[n.Role, tuple[n.Block, ...]] | None:
    """Return who says an ordinary item, and its blocks; None for any other item."""
    try:
        item = _DECODER.decode(raw)
    except NOT_DECODED:
        return None
    call, output = item.call_id, item.output
    if item.role is not None:
        if item.type != "message" or not (call is item.name is item.arguments is output is None):
            return None
        content = item.content
        if type(content) is str:
            return item.role, (n.Text(content),)
        return item.role, tuple(n.Text(part.text) for part in content or ())  # type: ignore[union-attr]
    if call is None or item.content is not None:
        return None
    if item.type == "function_call":
        if item.name is None or output is not None:
            return None
        return "assistant", (n.ToolCall(call, item.name, item.arguments or ""),)
    if item.type == "message" or output is None or item.name is not None or item.arguments is not None:
        return None
    return "user", (n.ToolResult(call, (n.Text(output),)),)
