"""Reads the members of a JSON object of a request, and says where something is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from wirekey.translation.losses import cannot_translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wirekey.translation.losses import Losses

_OBJECT: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_LIST: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_TEXT: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_INTEGER: msgspec.json.Decoder[int] = msgspec.json.Decoder(int, strict=False)
_UNDERSCORE = re.compile("_([a-z0-9])")

encode = msgspec.json.Encoder().encode
decode = msgspec.json.decode


def camel(name: str) -> str:
    """Return a name in Google's other spelling: `max_output_tokens` is `maxOutputTokens`."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name) if "_" in name else name


class Members:
    """The members of one JSON object. Null counts as absent, and every member that is read is noted.

    `place` is the path to the object from the top of the request, such as `messages[3].content[1]`. The methods raise
    Refusal if a member has another type than asked for.
    """

    __slots__ = ("_read", "either_spelling", "place", "values")

    def __init__(self, raw: Raw | bytes | str, place: str = "", *, either_spelling: bool = False) -> None:
        try:
            values = _OBJECT.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise cannot_translate(place or "request", "it must be a JSON object") from None
        if either_spelling:
            values = {camel(name): value for name, value in values.items()}
        self.values = {name: value for name, value in values.items() if bytes(value) != b"null"}
        self.place = place
        self.either_spelling = either_spelling
        self._read: set[str] = set()

    def at(self, name: str) -> str:
        """Return the path of a member."""
        return f"{self.place}.{name}" if self.place else name

    def raw(self, name: str) -> Raw | None:
        """Return the JSON of a member, or None if it is absent."""
        self._read.add(name)
        return self.values.get(name)

    def has(self, name: str) -> bool:
        """Return whether a member is there."""
        return self.raw(name) is not None

    def text(self, name: str) -> str | None:
        """Return a member that is a string."""
        return self._decoded(name, _TEXT.decode, "a string")

    def needed_text(self, name: str) -> str:
        """Return a member that must be there and is a string."""
        found = self.text(name)
        if found is None:
            raise cannot_translate(self.at(name), "it is missing")
        return found

    def flag(self, name: str) -> bool | None:
        """Return a member that is true or false."""
        found = self.raw(name)
        if found is None:
            return None
        data = bytes(found)
        if data not in {b"true", b"false"}:
            raise cannot_translate(self.at(name), "it must be true or false")
        return data == b"true"

    def integer(self, name: str) -> int | None:
        """Return a member that is a whole number."""
        return self._decoded(name, _INTEGER.decode, "a whole number")

    def members(self, name: str) -> Members | None:
        """Return a member that is an object."""
        found = self.raw(name)
        return None if found is None else self._members(found, self.at(name))

    def objects(self, name: str) -> list[Members]:
        """Return a member that is a list of objects, or no objects if it is absent.

        One object stands for a list of one if both of Google's spellings are read.
        """
        return [self._members(raw, f"{self.at(name)}[{index}]") for index, raw in enumerate(self.elements(name))]

    def elements(self, name: str) -> list[Raw]:
        """Return the JSON of each element of a member that is a list."""
        found = self.raw(name)
        if found is None:
            return []
        if self.either_spelling and not bytes(found).lstrip().startswith(b"["):
            return [found]
        try:
            return _LIST.decode(found)
        except msgspec.DecodeError:
            raise cannot_translate(self.at(name), "it must be a list") from None

    def texts(self, name: str) -> list[str]:
        """Return a member that is a list of strings, or one string."""
        found = self.raw(name)
        if found is not None and is_text(found):
            return [_TEXT.decode(found)]
        try:
            return [_TEXT.decode(one) for one in self.elements(name)]
        except msgspec.DecodeError:
            raise cannot_translate(self.at(name), "it must be a list of strings") from None

    def is_text(self, name: str) -> bool:
        """Return whether a member is there and is a string."""
        found = self.raw(name)
        return found is not None and is_text(found)

    def ignore(self, *names: str) -> None:
        """Note members as read that carry nothing to translate."""
        self._read.update(names)

    def unread(self) -> Iterator[str]:
        """Yield the names of the members that nothing has read."""
        return (name for name in self.values if name not in self._read)

    def drop_unread(self, losses: Losses) -> None:
        """Count the members that nothing has read."""
        losses.drop_unknown(sum(1 for _ in self.unread()))

    def _members(self, raw: Raw, place: str) -> Members:
        return Members(raw, place, either_spelling=self.either_spelling)

    def _decoded[T](self, name: str, decode_one: Callable[[Raw], T], kind: str) -> T | None:
        found = self.raw(name)
        if found is None:
            return None
        try:
            return decode_one(found)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise cannot_translate(self.at(name), f"it must be {kind}") from None


def is_text(raw: Raw) -> bool:
    """Return whether JSON is a string."""
    return bytes(raw).lstrip().startswith(b'"')


def object_text(text: str) -> str | None:
    """Return text if it is the JSON of an object, `{}` for empty text and for null, or None if it is neither."""
    stripped = text.strip()
    if stripped in {"", "null"}:
        return "{}"
    try:
        _OBJECT.decode(stripped)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return stripped


def raw_json(value: object) -> Raw:
    """Return a value as JSON."""
    return Raw(encode(value))
