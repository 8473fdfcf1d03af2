"""Removes the signed state of foreign providers from a request that keeps its format.

A client sends back what it got, so a conversation that was translated once holds signed state. No provider can read
it. One search shows whether there is any; without it, not a byte of the request changes.
"""

from __future__ import annotations

import base64
import re
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from wirekey.core.metering.long_strings import outline
from wirekey.features.translation.members import encode
from wirekey.features.translation.models import traits_of
from wirekey.features.translation.neutral import Format
from wirekey.features.translation.state import GEMINI_MARKER, MARKER, SKIP_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.models import Traits

_ID = re.compile(rb'("call_[A-Za-z0-9]{1,24})_wk1_[A-Za-z0-9_-]*"')
_SIGNATURE = base64.b64encode(GEMINI_MARKER)
_REDACTED = base64.b64encode(MARKER.encode()[:3])
_MARKS = (b"_wk1_", b'"wk1_', b'"' + _SIGNATURE, b'"' + _REDACTED)
"""They stand at the start of a string, or behind the short id of a call."""

_OBJECT: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_LIST: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])

type Edit = Callable[[dict[str, Raw]], bool]
"""Edits a block or an item, and returns whether it stays."""


def has_signed_state(body: RequestBody) -> bool:
    """Return whether a request may hold signed state."""
    starts = outline(body)
    return any(mark in starts for mark in _MARKS)


def without_signed_state(form: Format, body: RequestBody, model: str = "") -> RequestBody:
    """Return a request to `model` without signed state: ids are short again, and foreign reasoning is left out.

    A call in a request to Gemini keeps a signature if the model demands one: the word for calls of other models. A
    body without signed state is returned as it is. The body must be a JSON object.
    """
    if not has_signed_state(body):
        return body
    match form:
        case Format.RESPONSES:
            return _edited(body, "input", None, _keep_item)
        case Format.ANTHROPIC | Format.INVOKE:
            return _edited(body, "messages", "content", _keep_block)
        case Format.CONVERSE:
            return _edited(body, "messages", "content", _keep_converse)
        case Format.GEMINI:
            return _edited(body, "contents", "parts", partial(_keep_part, traits_of(model, form)))
        case Format.CHAT:
            return _edited(body, "messages", None, _keep_message)


def _edited(body: RequestBody, member: str, inner: str | None, keep: Edit) -> RequestBody:
    top = _OBJECT.decode(body)
    try:
        listed = _LIST.decode(top[member])
    except (KeyError, msgspec.DecodeError):
        return body
    if inner is None:
        top[member] = Raw(encode(_kept(listed, keep)))
        return encode(top)
    found = []
    for raw in listed:
        if not has_signed_state(bytes(raw)):
            found.append(raw)
            continue
        turn = _OBJECT.decode(raw)
        try:
            turn[inner] = Raw(encode(_kept(_LIST.decode(turn[inner]), keep)))
            found.append(Raw(encode(turn)))
        except (KeyError, msgspec.DecodeError):
            found.append(raw)
    top[member] = Raw(encode(found))
    return encode(top)


def _kept(blocks: list[Raw], keep: Edit) -> list[object]:
    found: list[object] = []
    for raw in blocks:
        if not has_signed_state(bytes(raw)):
            found.append(raw)
            continue
        block = _OBJECT.decode(raw)
        if keep(block):
            found.append(block)
    return found


def _begins(raw: Raw | None, mark: bytes) -> bool:
    return raw is not None and bytes(raw).startswith(mark)


def _shorten(members: dict[str, Raw], name: str) -> None:
    """Cut the signed state off an id. Nothing else of a request is changed: a policy has decided on its names."""
    if name in members and (found := _ID.fullmatch(bytes(members[name]))):
        members[name] = Raw(found[1] + b'"')


def _keep_message(message: dict[str, Raw]) -> bool:
    _shorten(message, "tool_call_id")
    if "tool_calls" in message:
        calls = [_OBJECT.decode(raw) for raw in _LIST.decode(message["tool_calls"])]
        for call in calls:
            _shorten(call, "id")
        message["tool_calls"] = Raw(encode(calls))
    return True


def _keep_item(item: dict[str, Raw]) -> bool:
    _shorten(item, "call_id")
    return not _begins(item.get("encrypted_content"), b'"wk1_')


def _keep_block(block: dict[str, Raw]) -> bool:
    return not any(_begins(block.get(name), b'"wk1_') for name in ("signature", "data"))


def _keep_converse(block: dict[str, Raw]) -> bool:
    if "reasoningContent" not in block:
        return True
    data = bytes(block["reasoningContent"])
    return b'"wk1_' not in data and b'"' + _REDACTED not in data


def _keep_part(traits: Traits, part: dict[str, Raw]) -> bool:
    # Google reads either spelling of a member, and LiteLLM and LangChain mix them.
    name = "thought_signature" if "thought_signature" in part else "thoughtSignature"
    if _begins(part.get(name), b'"' + _SIGNATURE):
        del part[name]
        if traits.signatures and ("functionCall" in part or "function_call" in part):
            part[name] = Raw(encode(SKIP_SIGNATURE))
        return not (bytes(part.get("thought", b"false")) == b"true" or bytes(part.get("text", b"x")) == b'""')
    return True
