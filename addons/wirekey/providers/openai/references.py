"""The members of OpenAI's requests that refer to input which is not in the request.

https://platform.openai.com/docs/api-reference/responses/create. Servers that speak the same format have further ones.
"""

from __future__ import annotations

from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS
from wirekey.core.metering.long_strings import outline
from wirekey.providers.brought_tools import could_mention
from wirekey.providers.rare_members import IN_CHAT, may_have
from wirekey.providers.references import is_address, is_filled, refers_to, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msgspec import Raw

    from wirekey.providers.request_json import JsonObject, Messages

OF_RESPONSES = ("previous_response_id", "conversation", "prompt")
OF_CHAT = ("web_search_options", "search_parameters")
"""The second one is xAI's."""
OWN_TOOLS = ("web_search", "file_search", "mcp", "code_interpreter", "shell")
"""Beginnings of the types of tools that the provider runs. It reads what they find."""
ADDRESSES = ("url", "image_url", "file_url", "video_url", "audio_url", "document_url")
KEPT = {
    "item_reference": (),
    "reasoning": ("encrypted_content", "content"),
    "compaction": ("encrypted_content",),
    "image_generation_call": ("result",),
    "file_search_call": ("results",),
    "code_interpreter_call": ("outputs",),
    "web_search_call": (),
}
"""Type of an item → the members that have its content. Without them, the provider reads what it has stored of it."""
EMPTY = (b"", b"null", b'""', b"[]")

_INNER = ("messages", "input", "content", "output", "file", "images", *ADDRESSES)

_NOT_TEXT = frozenset({*_INNER, "file_id", "audio"})
"""Members that refer, or in which something may."""
_INNER_OF_MESSAGE = _NOT_TEXT - {"content"}
_ABSENT, _NULL = msgspec.Raw(), msgspec.Raw(b"null")
_LIST, _TEXT_OR_NULL = ord("["), b'"n'
_content = methodcaller("get", "content")
_Text = msgspec.defstruct(
    "_Text", [("content", msgspec.Raw, _NULL), *((name, msgspec.Raw, _ABSENT) for name in _INNER_OF_MESSAGE)]
)
"""A part of the content of a message. Nothing in it refers if no member is set."""
_texts: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[_Text])  # type: ignore[valid-type]
_others = attrgetter(*_INNER_OF_MESSAGE)
_NO_OTHERS = _others(_Text())


class _Item(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    role: str | None = None
    encrypted_content: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    results: msgspec.Raw = msgspec.Raw()
    outputs: msgspec.Raw = msgspec.Raw()


_items = msgspec.json.Decoder(list[_Item | str])


def chat_reads_elsewhere(body: JsonObject, messages: Messages | None, tools: Iterable[JsonObject]) -> bool:
    """Return whether a chat refers to input that is not in it. `tools`: those that it offers."""
    return is_filled(body, OF_CHAT) or runs_tools(tools) or _messages_refer(body, "messages", messages)


def response_reads_elsewhere(body: JsonObject, items: Messages | None, tools: Iterable[JsonObject]) -> bool:
    """Return whether a request to the Responses API refers to input that is not in it.

    `items`: the list under `input`; None for a text. `tools`: those that it offers.
    """
    if is_filled(body, OF_RESPONSES) or runs_tools(tools) or _messages_refer(body, "input", items):
        return True
    return has_stored_items(body)


def content_refers(body: JsonObject) -> bool:
    """Return whether the messages of a request, or its images, refer to a file, an address or a stored response."""
    return may_have(body, IN_CHAT) and refers_to(
        body, _INNER, lambda found: _names_file(found) or _has_stored_audio(found)
    )


def _messages_refer(body: JsonObject, key: str, messages: Messages | None) -> bool:
    """Return whether the messages under a key refer to something."""
    return not _has_only_text(body, key, messages) and content_refers(body)


def _has_only_text(body: JsonObject, key: str, messages: Messages | None) -> bool:
    """Return whether a request has nothing but text where a reference could be. It takes a fifth of a search."""
    if not body.values.keys().isdisjoint(_NOT_TEXT - {key}):
        return False
    if messages is None:
        return True
    if messages.split is None or not set().union(*messages.split).isdisjoint(_INNER_OF_MESSAGE):
        return False
    try:
        return all(map(_is_text, filter(None, map(_content, messages.split))))
    except DECODE_ERRORS:
        return False  # not as it is documented


def _is_text(content: Raw) -> bool:
    """Return whether the content of a message is a text, null, or a list of parts in which nothing can refer.

    A part with a content of its own could have it twice, of which only one is read here.
    """
    opening = memoryview(content)[0]
    if opening != _LIST:
        return opening in _TEXT_OR_NULL
    return all(part.content is _NULL and _others(part) == _NO_OTHERS for part in _texts.decode(content))


def has_stored_items(body: JsonObject) -> bool:
    """Return whether the provider has stored an item that the request has only a part of. No item has a name twice."""
    raw = body.values.get("input")
    if raw is None or not could_mention(outline(body.data), b'"id"'):
        return False
    try:
        items = _items.decode(raw)
    except DECODE_ERRORS:
        return body.starts("input", b"[")  # not a list of items as they are documented
    return any(isinstance(item, _Item) and _is_stored(item) for item in items)


def runs_tools(tools: Iterable[JsonObject]) -> bool:
    """Return whether the provider itself runs one of these tools."""
    return any((type_of(tool) or "").startswith(OWN_TOOLS) for tool in tools)


def _names_file(content: JsonObject) -> bool:
    return content.filled("file_id") or any(is_address(content, key) for key in ADDRESSES)


def _has_stored_audio(message: JsonObject) -> bool:
    """Return whether a message has the id of an earlier response in speech."""
    has_audio = "role" in message.values and message.starts("audio", b"{")
    return has_audio and could_mention(bytes(message.values["audio"]), b'"id"')


def _is_stored(item: _Item) -> bool:
    """Return whether the provider reads an item that it has stored. A reference needs no type."""
    if item.type is None:
        return bool(item.id) and item.role is None
    own = KEPT.get(item.type)
    return own is not None and not any(bytes(getattr(item, name)) not in EMPTY for name in own)
