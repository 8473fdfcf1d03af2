"""Removes the signed state of foreign providers from a request that keeps its format.

A client sends back what it got, so a conversation that was translated once holds signed state. No provider can read
it. One search shows whether there is any; without it, not a byte of the request changes.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from wirekey.features.translation.members import encode
from wirekey.features.translation.models import traits_of
from wirekey.features.translation.state import GEMINI_MARKER, MARKER

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.body import RequestBody
    from wirekey.features.translation.format import TranslatedFormat

_ID = re.compile(rb'("call_[A-Za-z0-9]{1,24})_wk1_[A-Za-z0-9_-]*"')
IN_ID = b"_wk1_"
"""It stands behind the short id of a call, the others at the start of a string."""
IN_TEXT = b'"wk1_'
IN_BOTH = b"wk1_"
"""It is in an id and in a text."""
IN_SIGNATURE = b'"' + base64.b64encode(GEMINI_MARKER)
IN_BYTES = b'"' + base64.b64encode(MARKER.encode()[:3])

_OBJECT: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_LIST: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])

type Edit = Callable[[dict[str, Raw]], bool]
"""Edits a block or an item, and returns whether it stays."""


def has_signed_state(form: TranslatedFormat, body: RequestBody) -> bool:
    """Return whether a request may hold signed state, in a place where its format has some."""
    places = form.state_places
    if places.in_each and body.find(places.in_each) < 0:
        return False
    return any(body.find(mark) >= 0 for mark in places.marks)


def without_signed_state(form: TranslatedFormat, body: RequestBody, model: str = "") -> RequestBody:
    """Return a request to `model` without signed state: ids are short again, and foreign reasoning is left out.

    A call in a request to Gemini keeps a signature if the model demands one: the word for calls of other models. A
    body without signed state is returned as it is. The body must be a JSON object.
    """
    if not has_signed_state(form, body):
        return body
    places, traits = form.state_places, traits_of(model, form.traits)
    return _edited(form, body, lambda block: places.edit(block, traits))


def _edited(form: TranslatedFormat, body: RequestBody, keep: Edit) -> RequestBody:
    member, inner = form.wire.turns, form.state_places.blocks
    top = _OBJECT.decode(body)
    try:
        listed = _LIST.decode(top[member])
    except (KeyError, msgspec.DecodeError):
        return body
    if inner is None:
        top[member] = Raw(encode(_kept(form, listed, keep)))
        return encode(top)
    found = []
    for raw in listed:
        if not has_signed_state(form, bytes(raw)):
            found.append(raw)
            continue
        turn = _OBJECT.decode(raw)
        try:
            turn[inner] = Raw(encode(_kept(form, _LIST.decode(turn[inner]), keep)))
            found.append(Raw(encode(turn)))
        except (KeyError, msgspec.DecodeError):
            found.append(raw)
    top[member] = Raw(encode(found))
    return encode(top)


def _kept(form: TranslatedFormat, blocks: list[Raw], keep: Edit) -> list[object]:
    found: list[object] = []
    for raw in blocks:
        if not has_signed_state(form, bytes(raw)):
            found.append(raw)
            continue
        block = _OBJECT.decode(raw)
        if keep(block):
            found.append(block)
    return found


def begins(raw: Raw | None, mark: bytes) -> bool:
    """Return whether the JSON of a member begins with a mark."""
    return raw is not None and bytes(raw).startswith(mark)


def shorten(members: dict[str, Raw], name: str) -> None:
    """Cut the signed state off an id. Nothing else of a request is changed: a policy has decided on its names."""
    if name in members and (found := _ID.fullmatch(bytes(members[name]))):
        members[name] = Raw(found[1] + b'"')
