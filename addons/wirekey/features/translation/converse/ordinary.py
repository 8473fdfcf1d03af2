"""The ordinary messages of Converse: texts, calls of tools and their results.

Most messages of a large request are such. They are decoded into types, which takes a fifth of the time of reading them
member by member. A message that has anything else is left to `read_request`, which reads the same from these.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.members import NOT_DECODED

_NOTHING = Raw()


class _ResultText(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    text: str


class _Use(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    tool_use_id: str
    name: str
    input: Raw = _NOTHING


class _Result(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    tool_use_id: str
    content: list[_ResultText] | None = None
    status: str | None = None


class _Block(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    text: str | None = None
    tool_use: _Use | None = None
    tool_result: _Result | None = None


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["user", "assistant"]
    content: list[_Block] | None = None


_DECODER = msgspec.json.Decoder(_Message)
_EMPTY = frozenset({b"", b"null"})


def ordinary_turn(raw: Raw) -> n.Turn | None:
    """Return the turn of an ordinary message, or None for any other."""
    try:
        message = _DECODER.decode(raw)
    except NOT_DECODED:
        return None
    blocks: list[n.Block] = []
    for block in message.content or ():
        text, use, result = block.text, block.tool_use, block.tool_result
        if (text is None) + (use is None) + (result is None) != 2:
            return None
        if text is not None:
            blocks.append(n.Text(text))
        elif use is not None:
            given = bytes(use.input)
            blocks.append(n.ToolCall(use.tool_use_id, use.name, "{}" if given in _EMPTY else given.decode()))
        elif result is not None:
            texts = tuple(n.Text(part.text) for part in result.content or ())
            blocks.append(n.ToolResult(result.tool_use_id, texts, result.status == "error"))
    return n.Turn(message.role, tuple(blocks))
