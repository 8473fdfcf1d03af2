"""Replaces the first messages of a request with a text in front of its system prompt.

Every byte of the messages that stay is the client's own. Some formats have several shapes of a system prompt: an
existing prompt decides, or else the first message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.features.rollup.history import SYSTEM_ROLES, UNREADABLE
from wirekey.providers.format import SystemPrompt
from wirekey.providers.formats import FORMATS

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.features.rollup.history import History
    from wirekey.providers.json_edits import EditableObject

_CHAT_FAMILIES = frozenset({"openai", "mistral", "deepseek", "qwen"})
"""Makers of models whose own bodies on Bedrock have the system prompt among the messages."""
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def shortened(history: History, count: int, text: str, model: str | None) -> tuple[RequestBody, int] | None:
    """Return the request body without its first `count` turns and with `text` before the system prompt.

    The second value is the number of messages that were removed. `model`: the requested one, which says the shape of
    some bodies. None: the system prompt has a shape that is not known, or cannot be changed.
    """
    first_left = history.turns[count].begin
    kept = [
        (place, raw) for place, raw in enumerate(history.raws) if place >= first_left or place in history.system_places
    ]
    items = [bytes(raw) for _, raw in kept]
    root = history.editable.root
    try:
        if has_chat_shape(history, model):
            items = with_system_message(items, text)
        elif not set_system(root, history, text):
            return None
    except (*UNREADABLE, AttributeError, KeyError):
        return None
    removed = len(history.raws) - len(kept)
    root.set({history.member: b"[" + b",".join(items) + b"]"})
    return history.editable.written(), removed


def has_chat_shape(history: History, model: str | None) -> bool:
    """Return whether the system prompt is a message."""
    system = FORMATS[history.form].system
    if system is not SystemPrompt.OF_MODEL:
        return system is SystemPrompt.MESSAGE
    return bool(history.system_places) or not _CHAT_FAMILIES.isdisjoint((model or "").split("."))


def with_system_message(items: list[bytes], text: str) -> list[bytes]:
    """Return messages with a text in front of the first system message, or in a new first one."""
    for place, item in enumerate(items):
        message = _decode(item)
        if message.get("role") not in SYSTEM_ROLES:
            continue
        content = message.get("content")
        if isinstance(content, str):
            message["content"] = f"{text}\n{content}"
        elif isinstance(content, list):
            message["content"] = [{"type": "text", "text": f"{text}\n"}, *content]
        else:
            break
        return [*items[:place], _encode(message), *items[place + 1 :]]
    return [_encode({"role": "system", "content": text}), *items]


def set_system(root: EditableObject, history: History, text: str) -> bool:
    """Set a text in front of the system prompt of a body that has it in a member of its own.

    Return False if the prompt has a shape that is not known.
    """
    system = FORMATS[history.form].system
    if system is SystemPrompt.CONTENT:
        return set_instruction(root, text)
    members = root.members
    current = _decode(members.values["system"]) if "system" in members.values else None
    if current is None:
        current = [] if takes_list(history) else ""
    if isinstance(current, str) and system is not SystemPrompt.BLOCKS:
        root.set({"system": _encode(f"{text}\n{current}" if current else text)})
        return True
    if not isinstance(current, list):
        return False
    is_typed = system is SystemPrompt.TEXT_OR_BLOCKS or (bool(current) and "type" in current[0])
    block: dict[str, Any] = {"type": "text"} if is_typed else {}
    block["text"] = f"{text}\n" if current else text
    added = _encode(block)
    rest = bytes(members.values["system"]).lstrip()[1:] if current else b"]"
    root.set({"system": b"[" + added + (b"," if current else b"") + rest})
    return True


def takes_list(history: History) -> bool:
    """Return whether a new system prompt is a list of blocks, as in Converse and for Nova, and not a text."""
    system = FORMATS[history.form].system
    if system is not SystemPrompt.OF_MODEL:
        return system is SystemPrompt.BLOCKS
    content = _decode(history.raws[0]).get("content")
    return isinstance(content, list) and not (content and "type" in content[0])


def set_instruction(root: EditableObject, text: str) -> bool:
    """Set a text in front of Gemini's system instruction. Return False if it cannot be changed.

    With cached content it cannot: the instruction is then in the cache.
    """
    values = root.members.values
    spellings = [name for name in ("systemInstruction", "system_instruction") if name in values]
    caches = [name for name in ("cachedContent", "cached_content") if root.members.filled(name)]
    if len(spellings) > 1 or caches:
        return False
    name = spellings[0] if spellings else "systemInstruction"
    current = _decode(values[name]) if spellings else None
    if current is None:
        current = {"parts": [{"text": text}]}
    elif isinstance(current, str):
        current = f"{text}\n{current}"
    else:
        parts = current.get("parts") or []
        if not isinstance(parts, list):
            return False
        if parts and isinstance(parts[0].get("text"), str):
            parts[0]["text"] = f"{text}\n{parts[0]['text']}"
        else:
            parts = [{"text": text}, *parts]
        current["parts"] = parts
    root.set({name: _encode(current)})
    return True
