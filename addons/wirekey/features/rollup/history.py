"""Reads the messages of a request in a form that is the same however a client writes them, and hashes their prefixes.

A message that the provider sent comes back in the spelling of the client's SDK: with null members, as a text or as a
list of blocks, cut into the chunks of a stream. Cache marks move from message to message. None of this changes what was
said, so it is left out before the hash. Reasoning and its signatures are left out, too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.errors import Refusal
from wirekey.providers import formats
from wirekey.providers.format import SystemPrompt
from wirekey.providers.json_edits import EditableBody

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.operation import Operation

FORMATS = frozenset(name for name, form in formats.FORMATS.items() if form.system is not SystemPrompt.INSTRUCTIONS)
"""Those whose requests have all messages of a conversation."""
SYSTEM_ROLES = frozenset({"system", "developer"})
UNREADABLE = (Refusal, msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)
"""Exceptions that mean that a body is not what a provider's documentation says. Such a request is left as it is."""

_ROLES = {
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "": "user",
}
_TEXTS = frozenset({"text", "input_text", "output_text"})
_CALLS = {"toolUse": "toolUseId", "functionCall": "id", "function_call": "id"}
_RESULTS = {"toolResult": "toolUseId", "functionResponse": "id", "function_response": "id"}
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", "annotations")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(slots=True)
class Blocks:
    """The content of one message: texts, calls and results, and whether there is anything else, such as an image."""

    items: list[Any] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    is_plain: bool = True

    def add_text(self, text: str) -> None:
        """Add a text. Texts that follow each other become one."""
        if not text:
            return
        if self.items and isinstance(self.items[-1], str):
            self.items[-1] += text
        else:
            self.items.append(text)

    def add(self, block: Any) -> None:
        """Add one block of a list, in any format."""
        if isinstance(block, str):
            self.add_text(block)
            return
        kind = block.get("type")
        if kind in {"thinking", "redacted_thinking"} or block.get("thought") is True:
            return
        if "reasoningContent" in block or "cachePoint" in block:
            return
        if isinstance(block.get("text"), str) and (kind is None or kind in _TEXTS):
            self.add_text(block["text"])
        elif kind == "tool_use":
            self.add_call(block, block["id"])
        elif kind == "tool_result":
            self.add_result(block, block["tool_use_id"], block.get("content"))
        elif name := next((name for name in _CALLS if name in block), None):
            self.add_call({name: without_marks(block[name])}, block[name].get(_CALLS[name]) or block[name]["name"])
        elif name := next((name for name in _RESULTS if name in block), None):
            inner = block[name]
            content = inner.get("content", inner.get("parts"))
            self.add_result({name: without_marks(inner)}, inner.get(_RESULTS[name]) or inner["name"], content)
        else:
            self.items.append(block)
            self.is_plain = False

    def add_call(self, block: Any, identifier: str) -> None:
        """Add a call of a tool."""
        self.calls.add(identifier)
        self.items.append(without_marks(block))

    def add_result(self, block: Any, identifier: str, content: Any) -> None:
        """Add the result of a call. `content`: text, or a list of blocks."""
        self.results.add(identifier)
        self.items.append(without_marks(block))
        if isinstance(content, list) and not all(is_text_or_json(item) for item in content):
            self.is_plain = False

    @property
    def content(self) -> Any:
        """The content as it is hashed and stored: a text, or a list."""
        if not self.items:
            return ""
        if len(self.items) == 1 and isinstance(self.items[0], str):
            return self.items[0]
        return [{"text": item} if isinstance(item, str) else item for item in self.items]


@dataclass(slots=True)
class Message:
    """One message, or several of the assistant that follow each other. `begin`: the place of the first in the list."""

    begin: int
    role: str
    blocks: Blocks
    members: dict[str, Any]
    """Further members that are part of what was said, such as a name."""

    @property
    def opens(self) -> bool:
        """Whether the user speaks here, so that a request may begin with this message."""
        return self.role == "user" and not self.blocks.results

    @property
    def only_says(self) -> bool:
        """Whether this is text of the assistant, without a call."""
        return self.role == "assistant" and not self.blocks.calls and self.blocks.is_plain and not self.members

    def encoded(self) -> bytes:
        """Return the message as JSON with sorted names."""
        encoded: bytes = _encode({"role": self.role, "content": self.blocks.content, **self.members})
        return encoded


@dataclass(slots=True)
class History:
    """The messages of one request. `turns` has those that are not of the system; `raws` has all, as the client's bytes.

    `encoded`: each turn as JSON with sorted names.
    """

    form: str
    editable: EditableBody
    member: str
    raws: list[msgspec.Raw]
    system_places: list[int]
    turns: list[Message]
    encoded: list[bytes]


def format_of(operation: Operation) -> str | None:
    """Return the format of an operation whose conversations can be rolled up, or None."""
    form = formats.CONVERSATIONS.get(operation.name)
    return form if form in FORMATS else None


def read_history(form: str, body: bytes) -> History | None:
    """Return the messages of a request body, or None if they are not such as the documentation says. Never raises."""
    try:
        editable = EditableBody(body)
        members = editable.root.members
        member = formats.FORMATS[form].turns
        if not members.starts(member, b"["):
            return None
        raws = list(members.items(member))
        system_places: list[int] = []
        turns: list[Message] = []
        for place, raw in enumerate(raws):
            message = _decode(raw)
            if message.get("role") in SYSTEM_ROLES:
                system_places.append(place)
                continue
            add_turn(turns, read_turn(place, message))
        return History(form, editable, member, raws, system_places, turns, [turn.encoded() for turn in turns])
    except (*UNREADABLE, AttributeError, KeyError):
        return None


def read_turn(place: int, message: dict[str, Any]) -> Message:
    """Return one message. Raises one of `UNREADABLE`, AttributeError or KeyError if it is not a message."""
    role = _ROLES[message.get("role") or ""]
    blocks = Blocks()
    content = message.get("content", message.get("parts"))
    for block in content if isinstance(content, list) else [content or ""]:
        blocks.add(block)
    members = {}
    for name, value in message.items():
        if name in {"role", "content", "parts", *_REASONING} or value in (None, [], {}):
            continue
        if name == "tool_calls":
            for call in value:
                blocks.add_call(call, call["id"])
        elif name == "function_call":
            blocks.add_call({"function_call": value}, value["name"])
        else:
            members[name] = value
            blocks.is_plain = blocks.is_plain and name in {"name", "tool_call_id"}
    if role == "tool" and not blocks.results:
        blocks.results.add(message.get("tool_call_id") or message["name"])
    return Message(place, role, blocks, members)


def add_turn(turns: list[Message], turn: Message) -> None:
    """Add a message. Texts of the assistant that follow each other are one: some SDKs keep the chunks of a stream."""
    if turns and turns[-1].only_says and turn.only_says:
        for item in turn.blocks.items:
            turns[-1].blocks.add_text(item)
    else:
        turns.append(turn)


def with_answer(history: History, text: str) -> tuple[list[bytes], bool]:
    """Return the encoded messages of a conversation with the text of the response at its end.

    The second value is whether all messages can be stored as text.
    """
    blocks = Blocks()
    blocks.add_text(text)
    answer = Message(len(history.raws), "assistant", blocks, {})
    turns = list(history.turns)
    is_plain = all(turn.blocks.is_plain for turn in turns)
    if turns and turns[-1].only_says:
        joined = Blocks()
        for item in (*turns[-1].blocks.items, text):
            joined.add_text(item)
        return [*history.encoded[:-1], Message(turns[-1].begin, "assistant", joined, {}).encoded()], is_plain
    return [*history.encoded, answer.encoded()], is_plain


def prefix_keys(owner: str, form: str, encoded: Sequence[bytes]) -> list[bytes]:
    """Return the key of each prefix of the messages: `keys[0]` is that of the first message alone.

    `owner`: the agent, without which no key is the same.
    """
    running = hashlib.sha256(_encode([owner, form]))
    keys = []
    for message in encoded:
        running.update(b"%d:" % len(message))
        running.update(message)
        keys.append(running.copy().digest())
    return keys


def cut_points(turns: Sequence[Message]) -> list[int]:
    """Return how many messages may be replaced, from the most to one.

    The rest begins with a message of the user, so the last one is always left. A result of a tool is never left
    without its call. Messages with anything that is not text, such as images, are not replaced.
    """
    plain = next((place for place, turn in enumerate(turns) if not turn.blocks.is_plain), len(turns))
    found = []
    unresolved: set[str] = set()
    for place in range(len(turns) - 1, 0, -1):
        blocks = turns[place].blocks
        unresolved = (unresolved - blocks.calls) | blocks.results
        if place <= plain and turns[place].opens and not unresolved:
            found.append(place)
    return found


def without_marks(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block without its null members and its cache mark. Its nested values are the program's own."""
    return {name: value for name, value in block.items() if value is not None and name != "cache_control"}


def is_text_or_json(block: Any) -> bool:
    """Return whether a block of a tool's result is text or JSON, and not an image or a file."""
    return isinstance(block, str) or ("json" in block or "cachePoint" in block or isinstance(block.get("text"), str))
