"""The ordinary messages of Chat Completions: texts, calls of functions and their results.

Most messages of a large request are such. They are decoded into types, which takes a fifth of the time of reading them
member by member. A message that has anything else is left to `read_request`, which reads the same from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.identifiers import made_call_id
from wirekey.features.translation.members import NOT_DECODED

if TYPE_CHECKING:
    from wirekey.features.translation.state import StateReader

_NOTHING = Raw()


class _TextPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["text"]
    text: str


class _Function(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    arguments: str | None = None


class _Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    function: _Function
    id: str | None = None
    type: Raw = _NOTHING
    index: Raw = _NOTHING


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False, tag_field="role"):
    content: str | list[_TextPart] | None = None


class _User(_Message, tag="user"):
    pass


class _Assistant(_Message, tag="assistant"):
    tool_calls: list[_Call] | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    reasoning_content: Raw = _NOTHING
    annotations: Raw = _NOTHING


class _Tool(_Message, tag="tool", kw_only=True):
    tool_call_id: str
    name: Raw = _NOTHING


_DECODER = msgspec.json.Decoder(_User | _Assistant | _Tool)


def ordinary_turn(raw: Raw, index: int, states: StateReader) -> n.Turn | None:
    """Return the turn of an ordinary message, or None for any other. `index` is its place among the messages."""
    try:
        message = _DECODER.decode(raw)
    except NOT_DECODED:
        return None
    content = message.content
    if type(content) is str:
        texts: tuple[n.Text, ...] = (n.Text(content),)
    else:
        texts = tuple(n.Text(part.text) for part in content) if content else ()
    if type(message) is _User:
        return n.Turn("user", texts)
    if type(message) is _Tool:
        identifier, _ = states.read_id(message.tool_call_id)
        text = texts if len(texts) == 1 else (n.Text("".join(one.text for one in texts)),)
        return n.Turn("user", (n.ToolResult(identifier, text),))
    assert isinstance(message, _Assistant)
    if not message.tool_calls:
        return n.Turn("assistant", texts)
    thoughts: list[n.Block] = []
    calls: list[n.Block] = []
    for number, call in enumerate(message.tool_calls):
        identifier, blocks = states.read_id(call.id or made_call_id(index, number))
        for block in blocks:
            (calls if block.attached == "call" else thoughts).append(block)
        calls.append(n.ToolCall(identifier, call.function.name, call.function.arguments or ""))
    return n.Turn("assistant", (*thoughts, *texts, *calls))
