"""Reads a conversation in Gemini's format as text for a program, and finds the session that it continues. Pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import msgspec

MOST_SESSIONS = 64
"""Sessions of one process that can be continued."""
LACKING = {
    "tools": "tools",
    "toolConfig": "tools",
    "cachedContent": "cached content",
}
"""Members of a request that a program cannot follow."""
TEXT_MEMBERS = frozenset({"text", "thought", "thoughtSignature"})

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class UnsupportedError(Exception):
    """The request asks for something that a local program lacks. The text is for the caller, without content."""


@dataclass(frozen=True, slots=True)
class TextTurn:
    """One message: `user` or `model`, with its text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class TextConversation:
    """A system prompt and messages. The last one is the user's."""

    system: str
    turns: tuple[TextTurn, ...]

    @property
    def beginning(self) -> str:
        """A hash of everything before the last message."""
        return hash_of(self.system, self.turns[:-1])

    def after(self, answer: str) -> str:
        """Return the hash that the next request of this conversation has as `beginning`, after this response."""
        return hash_of(self.system, (*self.turns, TextTurn("model", answer)))

    def transcript(self) -> str:
        """Return the text of a prompt that begins a session: what was said so far, then the last message."""
        *before, last = self.turns
        parts = [self.system] if self.system else []
        parts += [f"{'User' if turn.role == 'user' else 'Assistant'}: {turn.text}" for turn in before]
        return "\n\n".join([*parts, f"User: {last.text}" if before else last.text])


def read_conversation(body: bytes) -> TextConversation:
    """Read a request in Gemini's format. Raises UnsupportedError if a program cannot follow it."""
    try:
        data = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnsupportedError("The request is not JSON.") from None
    if not isinstance(data, dict):
        raise UnsupportedError("The request is not an object.")
    for name, what in LACKING.items():
        if data.get(name) or data.get(_snake(name)):
            raise UnsupportedError(f"The backend gemini-cli-acp lacks {what}: the program has tools of its own.")
    contents = data.get("contents")
    contents = [contents] if isinstance(contents, dict) else contents
    if not isinstance(contents, list) or not contents:
        raise UnsupportedError("The request has no messages.")
    turns: list[TextTurn] = []
    for content in contents:
        role = "model" if isinstance(content, dict) and content.get("role") == "model" else "user"
        text = _text(content)
        if turns and turns[-1].role == role:
            turns[-1] = TextTurn(role, f"{turns[-1].text}\n{text}")
        else:
            turns.append(TextTurn(role, text))
    if turns[-1].role != "user":
        raise UnsupportedError("The last message is not the user's.")
    system = data.get("systemInstruction", data.get("system_instruction"))
    return TextConversation(_text(system) if system else "", tuple(turns))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content.get("parts") if isinstance(content, dict) else None
    parts = [parts] if isinstance(parts, dict) else parts
    texts = []
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("thought"):
            continue
        if other := sorted(name for name in part if name not in TEXT_MEMBERS and part[name] is not None):
            what = "tools" if other[0].startswith(("function", "executable", "code")) else "images and files"
            raise UnsupportedError(f"The backend gemini-cli-acp lacks {what}: it takes text only.")
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "\n".join(texts)


def hash_of(system: str, turns: tuple[TextTurn, ...]) -> str:
    """Return the hash of a beginning of a conversation."""
    return hashlib.sha256(_encode([system, [[turn.role, turn.text] for turn in turns]])).hexdigest()


class Sessions:
    """The sessions of one process, by the hash of what was said in them."""

    def __init__(self) -> None:
        self._by_hash: OrderedDict[str, str] = OrderedDict()

    def take(self, conversation: TextConversation) -> str | None:
        """Return the session that a conversation continues, or None. It is forgotten until it is kept again."""
        return self._by_hash.pop(conversation.beginning, None) if len(conversation.turns) > 1 else None

    def keep(self, conversation: TextConversation, answer: str, session: str) -> None:
        """Remember a session after a whole response. The oldest is forgotten beyond the limit."""
        self._by_hash[conversation.after(answer)] = session
        while len(self._by_hash) > MOST_SESSIONS:
            self._by_hash.popitem(last=False)
