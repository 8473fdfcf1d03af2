"""Reads the members of a JSON object of a request, and says where something is wrong."""

from __future__ import annotations

import re
from itertools import batched
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from wirekey.features.translation.losses import cannot_translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wirekey.core.body import RequestBody
    from wirekey.core.errors import Refusal
    from wirekey.features.translation.losses import Losses

_OBJECT: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_LIST: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_TEXT: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_INTEGER: msgspec.json.Decoder[int] = msgspec.json.Decoder(int, strict=False)
_OBJECTS: msgspec.json.Decoder[list[dict[str, Raw]]] = msgspec.json.Decoder(list[dict[str, Raw]])
_decode_text = _TEXT.decode
NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions that mean that JSON is malformed or of another type."""
_NULL, _TRUE, _FALSE = Raw(b"null"), Raw(b"true"), Raw(b"false")
_DECODED_AT_ONCE = 256 * 1024
"""Bytes of a list up to which all its objects are decoded at once, which is faster. It needs more memory."""
_QUOTE, _BRACKET = b'"['
_UNDERSCORE = re.compile("_([a-z0-9])")

encode = msgspec.json.Encoder().encode
decode = msgspec.json.decode


def camel(name: str) -> str:
    """Return a name in Google's other spelling: `max_output_tokens` is `maxOutputTokens`."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name) if "_" in name else name


class Members:
    """The members of one JSON object. Null counts as absent, and every member that is read is noted.

    A member that nothing has read, in an object or in one inside it, is a loss: `drop_unread` reports it.

    `place` is the path to the object from the top of the request, such as `messages[3].content[1]`. The methods raise
    Refusal if a member has another type than asked for.
    """

    __slots__ = ("_index", "_inner", "_name", "_parent", "_read", "either_spelling", "losses", "values")

    def __init__(self, values: dict[str, Raw], parent: Members | None, name: str, index: int | None = None) -> None:
        # A large request makes hundreds of these, so the path is only made if an error has to tell it.
        self._parent = parent
        self._name = name
        self._index = index
        self._read: set[str] = set()
        self._inner: dict[str, Members] = {}
        self.losses: Losses | None = parent.losses if parent else None
        self.either_spelling = False
        if parent is not None and parent.either_spelling:
            self.either_spelling = True
            values = _in_one_spelling(values)
        if _NULL in values.values():
            values = {name: value for name, value in values.items() if value != _NULL}
        self.values = values

    @classmethod
    def of(cls, body: RequestBody, losses: Losses | None = None, *, either_spelling: bool = False) -> Members:
        """Return the members of a request. Raises Refusal if it is no JSON object.

        `losses` gets the unread members of objects in lists, each after it was used.
        """
        try:
            values = _OBJECT.decode(body)
        except NOT_DECODED:
            raise cannot_translate("request", "it must be a JSON object") from None
        made = cls(_in_one_spelling(values) if either_spelling else values, None, "")
        made.either_spelling, made.losses = either_spelling, losses
        return made

    @property
    def place(self) -> str:
        """The path to the object."""
        if self._parent is None:
            return self._name
        found = self._parent.at(self._name)
        return found if self._index is None else f"{found}[{self._index}]"

    def at(self, name: str) -> str:
        """Return the path of a member."""
        return f"{place}.{name}" if (place := self.place) else name

    def raw(self, name: str) -> Raw | None:
        """Return the JSON of a member, or None if it is absent."""
        found = self.values.get(name)
        if found is not None:
            self._read.add(name)
        return found

    def has(self, name: str) -> bool:
        """Return whether a member is there."""
        if name not in self.values:
            return False
        self._read.add(name)
        return True

    def text(self, name: str) -> str | None:
        """Return a member that is a string."""
        found = self.values.get(name)
        if found is None:
            return None
        self._read.add(name)
        try:
            return _decode_text(found)
        except NOT_DECODED:
            raise self._wrong(name, "a string") from None

    def needed_text(self, name: str) -> str:
        """Return a member that must be there and is a string."""
        found = self.values.get(name)
        if found is None:
            raise cannot_translate(self.at(name), "it is missing")
        self._read.add(name)
        try:
            return _decode_text(found)
        except NOT_DECODED:
            raise self._wrong(name, "a string") from None

    def text_alone(self, name: str) -> str | None:
        """Return a member that may be a string or a list, or None if it is not a string."""
        found = self.values.get(name)
        return self.text(name) if found is not None and _first_byte(found) == _QUOTE else None

    def flag(self, name: str) -> bool | None:
        """Return a member that is true or false."""
        found = self.raw(name)
        if found is None:
            return None
        if found not in (_TRUE, _FALSE):  # they cannot be hashed
            raise self._wrong(name, "true or false")
        return found == _TRUE

    def integer(self, name: str) -> int | None:
        """Return a member that is a whole number."""
        found = self.raw(name)
        if found is None:
            return None
        try:
            return _INTEGER.decode(found)
        except NOT_DECODED:
            raise self._wrong(name, "a whole number") from None

    def members(self, name: str) -> Members | None:
        """Return a member that is an object, the same one each time."""
        found = self.raw(name)
        if found is None:
            return None
        if name not in self._inner:
            try:
                self._inner[name] = Members(_OBJECT.decode(found), self, name)
            except NOT_DECODED:
                raise self._wrong(name, "a JSON object") from None
        return self._inner[name]

    def objects(self, name: str) -> Iterator[Members]:
        """Return the objects of a member that is a list, one after the other, or none if it is absent.

        One object stands for a list of one if both of Google's spellings are read.
        """
        found = self.raw(name)
        if found is None:
            return iter(())
        if len(memoryview(found)) <= _DECODED_AT_ONCE:
            try:
                values = _OBJECTS.decode(found)
            except NOT_DECODED:
                pass
            else:
                return self._used(Members(one, self, name, index) for index, one in enumerate(values))
        return self._used(self.element(raw, name, index) for index, raw in enumerate(self.elements(name)))

    def _used(self, elements: Iterable[Members]) -> Iterator[Members]:
        """Yield objects, and report what was not read of each when the next one is wanted."""
        for element in elements:
            yield element
            if self.losses:
                element.drop_unread(self.losses)

    def element(self, raw: Raw, name: str, index: int) -> Members:
        """Return the object that is an element of a member that is a list."""
        try:
            return Members(_OBJECT.decode(raw), self, name, index)
        except NOT_DECODED:
            raise cannot_translate(f"{self.at(name)}[{index}]", "it must be a JSON object") from None

    def elements(self, name: str) -> list[Raw]:
        """Return the JSON of each element of a member that is a list."""
        found = self.raw(name)
        if found is None:
            return []
        if self.either_spelling and _first_byte(found) != _BRACKET:
            return [found]
        try:
            return _LIST.decode(found)
        except NOT_DECODED:
            raise self._wrong(name, "a list") from None

    def texts(self, name: str) -> list[str]:
        """Return a member that is a list of strings, or one string."""
        found = self.raw(name)
        if found is not None and is_text(found):
            return [_TEXT.decode(found)]
        try:
            return [_TEXT.decode(one) for one in self.elements(name)]
        except NOT_DECODED:
            raise self._wrong(name, "a list of strings") from None

    def is_text(self, name: str) -> bool:
        """Return whether a member is there and is a string."""
        found = self.raw(name)
        return found is not None and is_text(found)

    def ignore(self, *names: str) -> None:
        """Note members as read that carry nothing to translate."""
        for name in names:
            if name in self.values:
                self._read.add(name)

    def ignore_all(self) -> None:
        """Note all members as read: the object is left out as a whole, which is reported by its name."""
        self._read.update(self.values)

    def unread(self) -> Iterator[str]:
        """Yield the names of the members that nothing has read."""
        return (name for name in self.values if name not in self._read)

    def drop_unread(self, losses: Losses) -> None:
        """Count the members that nothing has read, here and in the objects inside. Each is counted once."""
        if count := len(self.values) - len(self._read):
            losses.drop_unknown(count)
            self.ignore_all()
        for inner in self._inner.values():
            inner.drop_unread(losses)

    def refuse_unread(self, losses: Losses) -> None:
        """Raise Refusal if nothing has read some members. Their names are content, so it states a position.

        Unread members of the objects inside are only counted.
        """
        names = [*self.values]
        for name in self.unread():
            if self.at(name) not in losses.allowed:
                place = f"member {names.index(name) + 1} of {len(names)}"
                raise cannot_translate(self.place or "request", f"Wirekey does not know {place}; leave it out")
            losses.dropped.add(self.at(name))
        self.ignore_all()
        self.drop_unread(losses)

    def _wrong(self, name: str, kind: str) -> Refusal:
        return cannot_translate(self.at(name), f"it must be {kind}")


def _in_one_spelling(values: dict[str, Raw]) -> dict[str, Raw]:
    """Return members by Google's names in camel case."""
    return {camel(name): value for name, value in values.items()} if "_" in "".join(values) else values


def _first_byte(raw: Raw) -> int:
    """Return the first byte of JSON that is not white space. The decoder leaves none before a value."""
    return memoryview(raw)[0]


def is_text(raw: Raw) -> bool:
    """Return whether JSON is a string."""
    return _first_byte(raw) == _QUOTE


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


def raw_list(values: Iterable[object]) -> Raw:
    """Return values as a JSON list. Some are written before the next are made, so that few are in memory."""
    return Raw(b"[" + b",".join(encode(some)[1:-1] for some in batched(values, 64)) + b"]")
