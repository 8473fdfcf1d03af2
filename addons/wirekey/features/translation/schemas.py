"""JSON Schemas of tools and of structured output, as each upstream takes them.

A schema that needs no change is passed as the program wrote it, byte for byte. In a rewritten schema, numbers keep
their digits and members their order. The dialects are Google's `Schema` (types in capitals, `nullable`), JSON Schema,
and what Anthropic's structured output accepts of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from wirekey.features.translation.members import encode, raw_json

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 64
_OBJECT: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_LIST: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
EMPTY_OBJECT = Raw(b'{"type":"object","properties":{}}')
ANY_OBJECT = Raw(b'{"type":"object"}')
FREE_TEXT = Raw(b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}')
"""The arguments of a tool that takes free text, where the upstream only has functions."""
_MOVED = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
)
_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")

type Members = dict[str, Raw | Any]


class TooDeep(Exception):  # noqa: N818  # it is caught where a schema is left as it is
    """A schema is nested deeper than Wirekey rewrites."""


def tool_schema(schema: Raw | None, missing: Raw | None) -> Raw | None:
    """Return the schema of a tool's arguments: `missing` without one, and with `type: object` at its root."""
    members = _members(schema)
    if schema is None or members is None or not members:
        return missing
    if "type" in members:
        return schema
    return Raw(encode({"type": "object", **members}))


def from_google(schema: Raw) -> Raw:
    """Return JSON Schema for Google's `Schema`: types in lower case, `nullable` as a second type."""
    return _rewritten(schema, _google_members)


def _google_members(members: Members) -> Members:
    found: Members = {}
    nullable = bytes(members.get("nullable", b"false")) == b"true"
    for name, value in members.items():
        if name == "type":
            word = _text(value)
            if word is None:
                found[name] = value
            elif word.upper() != "TYPE_UNSPECIFIED":
                found[name] = [word.lower(), "null"] if nullable else word.lower()
        elif name in {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}:
            text = _text(value)  # 64-bit integers are strings in Google's JSON
            found[name] = Raw(text.encode()) if text is not None and text.isdigit() else value
        elif name not in {"nullable", "propertyOrdering", "example"}:
            found[name] = value
    return found


def for_gemini(schema: Raw, adjust: Callable[[], None]) -> Raw:
    """Return a schema for `responseJsonSchema`, where only members that begin with `$` may stand beside `$ref`."""
    if b'"$ref"' not in bytes(schema):
        return schema

    def rewrite(members: Members) -> Members:
        if "$ref" not in members or all(name.startswith("$") for name in members):
            return members
        adjust()
        return {name: value for name, value in members.items() if name.startswith("$")}

    return _rewritten(schema, rewrite)


def for_anthropic(schema: Raw, adjust: Callable[[], None], refuse: Callable[[str], None]) -> Raw:
    """Return a schema for Anthropic's structured output: closed objects, and limits of values in the description."""

    def rewrite(members: Members) -> Members:
        found = dict(members)
        moved = [name for name in _MOVED if name in found]
        if "minItems" in found and bytes(found["minItems"]) not in {b"0", b"1"}:
            moved.append("minItems")
        if moved:
            adjust()
            described = ", ".join(f"{name}: {bytes(found.pop(name)).decode()}" for name in moved)
            before = _text(found["description"]) if "description" in found else None
            found["description"] = f"{before} ({described})" if before else described
        if _is_object(found):
            if "additionalProperties" not in found:
                found["additionalProperties"] = False
            elif bytes(found["additionalProperties"]) != b"false":
                refuse("additionalProperties must be false for Anthropic")
        return found

    return _rewritten(schema, rewrite)


def _is_object(members: Members) -> bool:
    kind = members.get("type")
    return "properties" in members if kind is None else b'"object"' in bytes(kind)


def _rewritten(schema: Raw, rewrite: Callable[[Members], Members]) -> Raw:
    try:
        return raw_json(_walk(schema, rewrite, 0))
    except TooDeep:
        return schema


def _walk(schema: Raw, rewrite: Callable[[Members], Members], depth: int) -> object:
    if depth > MAX_DEPTH:
        raise TooDeep
    members = _members(schema)
    if members is None:
        return schema  # true, false, or no schema
    found = rewrite(dict(members))
    for name in _SCHEMAS:
        if isinstance(found.get(name), Raw):
            found[name] = _walk(found[name], rewrite, depth + 1)
    for name in _LISTS:
        if (listed := _listed(found.get(name))) is not None:
            found[name] = [_walk(one, rewrite, depth + 1) for one in listed]
    for name in _MAPS:
        if (named := _members(found.get(name))) is not None:
            found[name] = {key: _walk(one, rewrite, depth + 1) for key, one in named.items()}
    return found


def _members(raw: object) -> dict[str, Raw] | None:
    if not isinstance(raw, Raw):
        return None
    try:
        return _OBJECT.decode(raw)
    except msgspec.DecodeError:
        return None


def _listed(raw: object) -> list[Raw] | None:
    if not isinstance(raw, Raw):
        return None
    try:
        return _LIST.decode(raw)
    except msgspec.DecodeError:
        return None


def _text(raw: Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None
