"""The ordinary messages of Anthropic's Messages: texts, thoughts, calls of tools and their results.

Most messages of a large request are such. They are decoded into types, which takes a fifth of the time of reading them
member by member. A message that has anything else is left to `read_request`, which reads the same from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.members import NOT_DECODED

if TYPE_CHECKING:
    from wirekey.features.translation.state import StateReader

_NOTHING = Raw()


class _CacheControl(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Raw = _NOTHING
    ttl: str | None = None


class _Marked(msgspec.Struct, forbid_unknown_fields=True, gc=False, tag_field="type"):
    cache_control: _CacheControl | None = None

    def mark(self) -> n.CacheMark | None:
        """Return the mark of the block."""
        return n.CacheMark(self.cache_control.ttl) if self.cache_control else None


class _Text(_Marked, tag="text", kw_only=True):
    text: str


class _ResultText(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["text"]
    text: str


class _Thinking(msgspec.Struct, forbid_unknown_fields=True, gc=False, tag_field="type", tag="thinking"):
    thinking: str | None = None
    signature: str | None = None


class _Use(_Marked, tag="tool_use", kw_only=True):
    id: str
    name: str
    input: Raw = _NOTHING
    caller: Raw = _NOTHING


class _Result(_Marked, tag="tool_result", kw_only=True):
    tool_use_id: str
    content: str | list[_ResultText] | None = None
    is_error: bool | None = None


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["user", "assistant"]
    content: str | list[_Text | _Thinking | _Use | _Result] | None = None


_DECODER = msgspec.json.Decoder(_Message)
_EMPTY = frozenset({b"", b"null"})


def ordinary_turn(raw: Raw, states: StateReader) -> n.Turn | None:
    """Return the turn of an ordinary message, or None for any other."""
    try:
        message = _DECODER.decode(raw)
    except NOT_DECODED:
        return None
    content = message.content
    if type(content) is str:
        return n.Turn(message.role, (n.Text(content),))
    blocks: list[n.Block] = []
    for block in content or ():
        match block:
            case _Text():
                blocks.append(n.Text(block.text, block.mark() if block.cache_control else None))
            case _Use():
                given = bytes(block.input)
                arguments = "{}" if given in _EMPTY else given.decode()
                blocks.append(n.ToolCall(block.id, block.name, arguments, block.mark()))
            case _Result():
                blocks.append(_result(block))
            case _Thinking():
                bare = n.Reasoning(block.thinking, issuer=n.ModelMaker.CLAUDE)
                blocks += states.read(block.signature or "", bare)
    return n.Turn(message.role, tuple(blocks))


def _result(block: _Result) -> n.ToolResult:
    content = block.content
    if type(content) is str:
        texts: tuple[n.Text, ...] = (n.Text(content),)
    else:
        texts = tuple(n.Text(part.text) for part in content or ())  # type: ignore[union-attr]
    return n.ToolResult(block.tool_use_id, texts, bool(block.is_error), block.mark())
