"""The history in a request, read alike from the formats of all providers: who said what, in which order.

The members that tell the blocks of the formats apart do not overlap, so one reader serves all of them. It never raises:
wrong shapes are for the provider's own checks.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wirekey_simulator.members import child, objects

if TYPE_CHECKING:
    from collections.abc import Iterator

TURNS = ("messages", "contents", "input")
ASSISTANTS = ("assistant", "model")
OWN_ITEMS = ("function_call", "custom_tool_call", "local_shell_call", "reasoning")
"""Items of OpenAI's Responses that the model made and that have no role."""
RESULT_ITEMS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output")
RESULT_KEYS = ("output", "content", "response", "text", "llmContent", "result", "json", "error")


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a turn: `text`, `media` (its type and a digest), `thought`, `call` or `result`."""

    kind: str
    text: str = ""
    id: str = ""
    name: str = ""
    arguments: Any = None
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One turn of a role, `system`, `user` or `assistant`, with all items until another role speaks."""

    role: str
    items: tuple[Item, ...]


def history(body: Any) -> list[Said]:
    """Return the turns of a request, with neighbours of the same role as one."""
    found: list[Said] = []
    for turn in turns_of(body):
        role, items = role_of(turn), tuple(_items(turn))
        if found and found[-1].role == role:
            found[-1] = replace(found[-1], items=(*found[-1].items, *items))
        elif items:
            found.append(Said(role, items))
    return found


def turns_of(body: Any) -> list[dict[str, Any]]:
    """Return the turns or items of a request as they are. A text alone is one turn of the user's."""
    for name in TURNS:
        value = child(body, name)
        if isinstance(value, list):
            return objects(value)
        if isinstance(value, str):
            return [{"role": "user", "content": value}]
    return []


def role_of(turn: dict[str, Any]) -> str:
    """Return who says a turn or an item: `system`, `user` or `assistant`. Results are the user's."""
    role, kind = turn.get("role"), turn.get("type")
    if role in ASSISTANTS or kind in OWN_ITEMS:
        return "assistant"
    return "system" if role in ("system", "developer") else "user"


def results(said: list[Said]) -> list[tuple[str, str]]:
    """Return (tool, text) of each result in the last turn, in order. Gemini names the tool itself."""
    if not said or said[-1].role != "user":
        return []
    calls = [item for turn in said for item in turn.items if item.kind == "call"]
    names = {call.id: call.name for call in calls if call.id}
    found = [item for item in said[-1].items if item.kind == "result"]
    return [(item.name or names.get(item.id, "?"), item.text) for item in found]


def _items(turn: dict[str, Any]) -> Iterator[Item]:
    kind = turn.get("type")
    if turn.get("role") == "tool" or kind in RESULT_ITEMS:
        key = "content" if "content" in turn else "output"
        yield Item("result", text_of(turn.get(key)), turn.get("tool_call_id") or turn.get("call_id") or "")
        return
    if kind in OWN_ITEMS:
        yield _item(turn)
        return
    content = turn.get("content", turn.get("parts"))
    if isinstance(content, str):
        if content:
            yield Item("text", content)
    else:
        yield from map(_item, objects(content))
    for call in objects(turn.get("tool_calls")):
        function = call.get("function") or {}
        yield Item("call", id=call.get("id", ""), name=function.get("name", ""), arguments=_decoded(function))


def _item(block: dict[str, Any]) -> Item:
    kind = block.get("type")
    signature = block.get("signature") or block.get("thoughtSignature") or ""
    if kind in ("tool_use", "function_call", "custom_tool_call", "local_shell_call"):
        identifier = block.get("id") if kind == "tool_use" else block.get("call_id")
        return Item("call", id=identifier or "", name=block.get("name", ""), arguments=_decoded(block))
    for name in ("toolUse", "functionCall", "function_call"):
        if isinstance(call := block.get(name), dict):
            identifier = call.get("toolUseId") or call.get("id") or ""
            return Item("call", "", identifier, call.get("name", ""), _decoded(call), signature)
    if kind == "tool_result":
        return Item("result", text_of(block.get("content")), block.get("tool_use_id", ""))
    for name in ("toolResult", "functionResponse", "function_response"):
        if isinstance(result := block.get(name), dict):
            identifier = result.get("toolUseId") or result.get("id") or ""
            return Item("result", text_of(result), identifier, result.get("name", ""))
    if kind in ("thinking", "redacted_thinking"):
        return Item("thought", block.get("thinking", ""), signature=signature or block.get("data", ""))
    if kind == "reasoning":
        return Item("thought", text_of(block.get("summary")), signature=block.get("encrypted_content") or "")
    if isinstance(reasoning := block.get("reasoningContent"), dict):
        shown = reasoning.get("reasoningText") or {}
        return Item("thought", shown.get("text", ""), signature=shown.get("signature", ""))
    if block.get("thought"):
        return Item("thought", block.get("text", ""), signature=signature)
    if media := _media(block):
        return Item("media", media)
    return Item("text", text_of(block.get("text", "")), signature=signature)


def text_of(value: Any) -> str:
    """Return the text in a turn or a result. Each provider and agent nests it differently."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(text_of, value))
    if isinstance(value, dict):
        if "parts" in value and "response" not in value:
            return text_of(value["parts"])
        for wrapped in ("functionResponse", "function_response", "toolResult"):
            if wrapped in value:
                return text_of(value[wrapped])
        return next((text_of(value[key]) for key in RESULT_KEYS if key in value), "")
    return ""


def _decoded(call: dict[str, Any]) -> Any:
    found = next((call[name] for name in ("arguments", "input", "args") if name in call), None)
    if isinstance(found, str):
        try:
            return json.loads(found)
        except ValueError:
            return found
    return found


def _media(block: dict[str, Any]) -> str:
    """Return the media type and a digest of the bytes in a block, or the URL of a medium, or "" if it has none."""
    url = child(block, "image_url", "url") or block.get("image_url") or child(block, "file", "file_data")
    url = url or block.get("file_data")
    if isinstance(url, str):
        head, comma, data = url.removeprefix("data:").partition(",")
        return _digest(head.removesuffix(";base64"), data) if comma and url.startswith("data:") else url
    source = block.get("source") or block.get("inlineData") or block.get("inline_data")
    if isinstance(source, dict) and "data" in source:
        return _digest(source.get("media_type") or source.get("mimeType") or source.get("mime_type"), source["data"])
    for name, kind in (("image", "image/"), ("document", "application/")):
        if isinstance(data := child(block, name, "source", "bytes"), str):
            return _digest(f"{kind}{block[name].get('format')}", data)
    return ""


def _digest(media_type: Any, data: Any) -> str:
    try:
        content = b64decode(data, altchars=b"-_" if set("-_") & set(data) else None, validate=True)
    except (TypeError, ValueError):
        return f"{media_type} unreadable"
    return f"{media_type} {len(content)} bytes {hashlib.sha256(content).hexdigest()[:8]}"
