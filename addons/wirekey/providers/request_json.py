"""Reads JSON objects of requests strictly, without decoding what policy does not ask for.

A body is split into its members once. A member stays raw until it is asked for. msgspec silently keeps the last of two
equal keys, so this module checks that no key appears twice. The quick check is by length: if the members fill their
object so far that the shortest of them would not fit in again, no key is repeated. If white space leaves room, the
members are walked in the order of the bytes, with the lengths from the split. Every step lands on the next member only
if no key is repeated. The values are compared with the bytes on the way, so that a crafted length cannot hide a member
inside another member.
"""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import methodcaller
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.body import SpooledBody
from wirekey.core.errors import Refusal
from wirekey.core.json_size import INTEGER_LIMIT, has_more_members, sample_of
from wirekey.core.metering.long_strings import outline
from wirekey.core.model_name import MODEL_LENGTH
from wirekey.providers.json_arrays import SHORT, pieces
from wirekey.providers.lookalikes import lookalike
from wirekey.providers.request_head import media_type_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from wirekey.core.body import RequestBody

UTF8_PIECE = 32768
LONG_BODY = 8 * 1024 * 1024
PARTS_LIMIT = 4_000_000
"""Of commas in a long body: what is split off it takes ten times its room in memory."""
MEMBERS_LIMIT = 1_000
MEMBERS_SPLIT = 10_000
"""Strings of a body that may be split into members before they are counted: it takes a millisecond."""
ITEMS_LIMIT = 100_000
ROOM_OF_MEMBER, ROOM_OF_ITEM, ROOM_OF_RAW = 80, 200, 72
"""Bytes of memory for a member of an object, for an object, and for an item that is not decoded, at most."""
MOST_TIMES = 3
"""How many times the room of their bytes all messages at once may take."""
LONG_PIECE = 4 * SHORT
"""Bytes above which a piece of an array has an item that is long itself, and may have many members."""
SAMPLED = range(64 * 1024, 1024 * 1024 + 1)
"""Lengths of a body of which the members are estimated first. To count them takes longer than to split them.

A body could have twice the estimate if most of it is sparse. Its memory is small then: it is at most 1 MiB long.
"""
SHORTEST_MEMBER = len(',"":0')

_split = msgspec.json.Decoder(dict[str, msgspec.Raw])
_key = msgspec.json.Decoder(str)
_text = msgspec.json.Decoder(str | None)
_flag = msgspec.json.Decoder(bool | None)
_integer = msgspec.json.Decoder(int | None)
_number = msgspec.json.Decoder(float | None)
_array = msgspec.json.Decoder(list[msgspec.Raw] | None)
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

_ROLE = frozenset({"role"})
_values = methodcaller("values")

_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*')
_NEXT = re.compile(rb"[ \t\r\n]*([,}])")
_EMPTY = re.compile(rb"\{[ \t\r\n}]")
"""The start of each object without members, and of some that have."""
_OPENING = re.compile(rb'\{[ \t\r\n}"]')
"""The start of each object. Code in a text is full of other braces."""


@dataclass(frozen=True, slots=True)
class JsonObject:
    """The members of one JSON object, undecoded."""

    data: RequestBody
    values: dict[str, msgspec.Raw]
    place: str
    searches: dict[re.Pattern[bytes], bool] = field(default_factory=dict, compare=False, repr=False)
    """The results of searches in `data` that were made before."""

    @property
    def spans(self) -> dict[str, tuple[int, int]]:
        """Offsets of the values within `data`, computed at each access unless the body was read before."""
        if isinstance(self.data, SpooledBody) and self.data.spans is not None:
            return self.data.spans
        return _spans(self.data, self.values, self.place or "it")

    def text(self, key: str) -> str | None:
        """Return a string; None if it is absent or null."""
        return self._read(key, _text, "a string")

    def flag(self, key: str) -> bool:
        """Return a boolean; absent and null are False."""
        return self._read(key, _flag, "true or false") or False

    def integer(self, key: str) -> int | None:
        """Return a whole number of at most 2**53 either side of zero, which every JSON reader holds exactly."""
        number = self._read(key, _integer, "a whole number")
        if number is not None and abs(number) > INTEGER_LIMIT:
            raise malformed(f"{self.where(key)} is too large a number")
        return number

    def number(self, key: str) -> float | None:
        """Return a number; None if it is absent or null."""
        return self._read(key, _number, "a number")

    def array(self, key: str) -> list[msgspec.Raw] | None:
        """Return the items of an array, undecoded; None if it is absent or null."""
        items = self._read(key, _array, "an array")
        if items is not None and len(items) > ITEMS_LIMIT:
            raise malformed(f"{self.where(key)} has more than {ITEMS_LIMIT} items")
        return items

    def items(self, key: str) -> Iterator[msgspec.Raw]:
        """Yield the items of an array, undecoded, with few of them in memory; none if it is absent or null."""
        raw = self.values.get(key)
        if raw is None or not self.starts(key, b"[") or not _is_dense_list(raw):
            yield from self.array(key) or ()
            return
        count = 0
        for piece in pieces(bytes(raw)):
            items = _decode(piece, _array, self.where(key), "an array") or ()
            count += len(items)
            if count > ITEMS_LIMIT:
                raise malformed(f"{self.where(key)} has more than {ITEMS_LIMIT} items")
            yield from items

    def length(self, key: str) -> int | None:
        """Return the number of items of an array; None if it is absent or null."""
        raw = self.values.get(key)
        if raw is None or not _is_dense_list(raw):
            items = self.array(key)
            return None if items is None else len(items)
        return sum(1 for _ in self.items(key))

    def child(self, key: str) -> JsonObject | None:
        """Return the object under a key; None if it is absent or null."""
        raw = self.values.get(key)
        if raw is None or bytes(raw) == b"null":
            return None
        return read_object(bytes(raw), self.where(key))

    def children(self, key: str) -> Iterator[JsonObject]:
        """Yield the objects of the array under a key."""
        for index, raw in enumerate(self.items(key)):
            yield read_object(bytes(raw), f"{self.where(key)}[{index}]")

    def filled(self, key: str) -> bool:
        """Return whether the value under a key is not absent, null or empty."""
        raw = self.values.get(key)
        return raw is not None and bytes(memoryview(raw)[:8]) not in (b"null", b'""', b"[]", b"{}")

    def starts(self, key: str, opening: bytes) -> bool:
        """Return whether the value under a key begins with this byte, which tells its JSON type."""
        raw = self.values.get(key)
        return raw is not None and bytes(memoryview(raw)[:1]) == opening

    def where(self, key: str) -> str:
        """Return the name of a member for error messages."""
        return f"{self.place}.{key}" if self.place else key

    def _read[T](self, key: str, decoder: msgspec.json.Decoder[T], wanted: str) -> T | None:
        raw = self.values.get(key)
        return None if raw is None else _decode(raw, decoder, self.where(key), wanted)


def objects(parent: JsonObject, key: str) -> Iterator[JsonObject]:
    """Yield the objects of the array under a key. Unlike with `children`, other items and a string are no error."""
    if parent.starts(key, b'"'):
        return
    for index, raw in enumerate(parent.items(key)):
        if bytes(memoryview(raw)[:1]) == b"{":
            yield read_object(bytes(raw), f"{parent.where(key)}[{index}]")


@dataclass(frozen=True, slots=True)
class Messages:
    """The number of messages, and their roles; "" stands for a message without one."""

    count: int
    roles: frozenset[str]
    split: tuple[dict[str, msgspec.Raw], ...] | None = None
    """The members of each message, no name twice; None if that would take much memory."""


def malformed(what: str) -> Refusal:
    """Return the refusal of a body. `what` says what is wrong, as the end of a sentence."""
    return Refusal(400, "malformed_body", f"The request body is refused: {what}.")


def _too_many_members(named: str) -> Refusal:
    return malformed(f"{named} has more than {MEMBERS_LIMIT} members")


def check_json_type(content_type: str, *, also: Collection[str] = ()) -> None:
    """Refuse a body that is declared as something else, as the provider might then read it as that.

    A body without a Content-Type passes, as many small clients send none. The charset can only be UTF-8. `also`: media
    types that this provider reads as JSON, too.
    """
    media, parameters = media_type_of(content_type)
    if media in also:
        media = ""
    if media and media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise malformed(f"it is declared as {media[:64]!r}; send it with Content-Type: application/json")
    if parameters.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise malformed("its Content-Type names a charset other than UTF-8")


def read_body(data: RequestBody) -> JsonObject:
    """Read a request body. Raises Refusal(400) unless it is one strict JSON object in UTF-8 without a BOM."""
    if not data:
        raise malformed("it is empty; this operation needs a JSON object")
    if data.startswith(codecs.BOM_UTF8):
        raise malformed("it begins with a byte order mark; send plain UTF-8 JSON")
    if isinstance(data, SpooledBody) and data.values is not None:
        return _read_checked(data)
    if len(data) > LONG_BODY and data.count(b",") > PARTS_LIMIT:
        raise malformed("it has too many parts")
    if not data.isascii():
        _check_utf8(data)
    return read_object(data, "")


def _read_checked(data: SpooledBody) -> JsonObject:
    """Read a body whose values were counted. It is split into members once, however often it is read."""
    if data.spans is None:
        body = read_object(data, "")
        data.spans = body.spans
        return body
    view = memoryview(data)
    return JsonObject(data, {key: msgspec.Raw(view[start:end]) for key, (start, end) in data.spans.items()}, "")


def read_object(data: RequestBody, place: str) -> JsonObject:
    """Split one JSON object into members. `place` is its name in error messages, "" for the whole body."""
    named = place or "it"
    if len(data) > SHORT and not _is_split_easily(data) and has_more_members(data, MEMBERS_LIMIT):
        raise _too_many_members(named)
    try:
        values = _split.decode(data)
    except RecursionError:
        raise malformed(f"{named} is nested too deeply") from None
    except msgspec.ValidationError:
        raise malformed(f"{named} must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(f"{named} is not valid JSON ({error})") from None
    if len(values) > MEMBERS_LIMIT:
        raise _too_many_members(named)
    if _has_room(len(data), values):
        _spans(data, values, named)
    return JsonObject(data, values, place)


def one_of(parent: JsonObject, *spellings: str) -> str:
    """Return the spelling of a member that a request uses, of several. Raises Refusal(400) if it uses two."""
    present = [spelling for spelling in spellings if spelling in parent.values]
    if len(present) > 1:
        raise malformed(f"{parent.where(present[0])} appears twice: also as {present[1]}")
    return present[0] if present else spellings[0]


def refuse_lookalikes(parent: JsonObject, keys: Collection[str]) -> None:
    """Refuse members that look like one of these keys and are spelled in another way."""
    if alike := lookalike(parent.values, frozenset(keys)):
        found, key = alike
        raise malformed(f"{parent.where(found)[:64]!r} must be spelled {key!r}")


def read_model(parent: JsonObject, key: str = "model") -> str | None:
    """Return the name of a model; None if it is absent or null. Raises Refusal(400) if it is no name."""
    model = parent.text(key)
    if model is not None:
        check_model(model, parent.where(key))
    return model


def check_model(model: str, where: str = "model") -> None:
    """Refuse names that no provider gives, as they go into logs, headers and policies."""
    if not 0 < len(model) <= MODEL_LENGTH or not model.isprintable() or model != model.strip():
        raise malformed(f"{where} must be a name of 1 to {MODEL_LENGTH} characters without control characters")


def read_messages(parent: JsonObject, key: str) -> Messages | None:
    """Count messages and read their roles; their content stays undecoded. None if there is no such array."""
    raw = parent.values.get(key)
    if raw is None or bytes(memoryview(raw)[:4]) == b"null":
        return None
    place = parent.where(key)
    return _read_in_pieces(bytes(raw), place) if _is_dense(parent.data, raw) else _read_messages(raw, place)


def _read_in_pieces(array: bytes, place: str) -> Messages:
    count, roles = 0, frozenset[str]()
    for piece in pieces(array):
        read = _read_messages(piece, place, is_piece=True)
        count += read.count
        if count > ITEMS_LIMIT:
            raise malformed(f"{place} has more than {ITEMS_LIMIT} items")
        roles |= read.roles
    return Messages(count, roles)


def _read_messages(raw: msgspec.Raw | bytes, place: str, *, is_piece: bool = False) -> Messages:
    if is_piece and len(raw) > LONG_PIECE:
        return _read_each(raw, place)
    try:
        messages = _objects.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if len(raw) > SHORT and not is_piece and bytes(memoryview(raw)[:1]) == b"[":
            return _read_in_pieces(bytes(raw), place)
        # Some may be strings.
        return _read_each(raw, place)
    if not _closely_written(len(raw), messages):
        for item, values in zip(_decode(raw, _array, place, "an array") or (), messages, strict=True):
            if values and _has_room(len(item), values):
                _spans(bytes(item), values, place)
    _check_roles(place, set().union(*messages))
    spellings = {bytes(message["role"]) for message in messages if "role" in message}
    found = (_decode(spelling, _text, f"{place}.role", "a string") for spelling in spellings)
    return Messages(len(messages), frozenset(role or "" for role in found), None if is_piece else tuple(messages))


def _read_each(raw: msgspec.Raw | bytes, place: str) -> Messages:
    items = _decode(raw, _array, place, "an array") or []
    roles: set[str] = set()
    for item in items:
        if bytes(memoryview(item)[:1]) == b"{":
            message = read_object(bytes(item), place)
            _check_roles(place, message.values)
            roles.add(message.text("role") or "")
    return Messages(len(items), frozenset(roles))


def _is_dense(data: RequestBody, raw: msgspec.Raw) -> bool:
    """Return whether the messages of an array could take more than some times its room when they are split.

    `data`: what the array is in. It is counted as a whole, without a copy.
    """
    if len(raw) <= SHORT:
        return False
    most = MOST_TIMES * len(raw)
    if _estimated_room(data, per_object=ROOM_OF_ITEM) <= most // 2:
        return False
    found = outline(data, b"{")
    objects = found.count(b"{")
    members = _most_members(found, (most - ROOM_OF_ITEM * objects) // ROOM_OF_MEMBER)
    if ROOM_OF_ITEM * objects + ROOM_OF_MEMBER * members <= most:
        return False
    # Code in a text is full of braces. Of what is an object, either it has a member, or nothing but space is in it.
    empty = sum(1 for _ in islice(_EMPTY.finditer(data), most // ROOM_OF_ITEM + 1))
    objects = min(objects, members + empty)
    return ROOM_OF_ITEM * objects + ROOM_OF_MEMBER * min(members, data.count(b":")) > most


def _is_dense_list(raw: msgspec.Raw) -> bool:
    """Return whether the items of an array could take more than some times its room, even undecoded."""
    return len(raw) > SHORT and ROOM_OF_RAW * bytes(raw).count(b",") > MOST_TIMES * len(raw)


def _is_split_easily(data: RequestBody) -> bool:
    """Return whether an object can be split before its members are counted. It may have many, but not for its length.

    To count them exactly takes far longer than to split them.
    """
    easy = max(MEMBERS_LIMIT, min(MEMBERS_SPLIT, MOST_TIMES * len(data) // ROOM_OF_MEMBER))
    if _estimated_room(data, per_object=0) <= easy * ROOM_OF_MEMBER // 2:
        return True
    return _most_members(outline(data), easy) <= easy


def _estimated_room(data: RequestBody, *, per_object: int) -> float:
    """Estimate the bytes of memory for the members of a body, and for its objects; infinite if it is not sampled."""
    if not isinstance(data, bytes) or len(data) not in SAMPLED:
        return math.inf
    sample = sample_of(data)
    room = ROOM_OF_MEMBER * _most_members(sample, 0)
    if per_object:
        room += per_object * len(_OPENING.findall(sample))
    return room * len(data) / len(sample)


def _most_members(data: RequestBody, enough: int) -> int:
    """Return a number that is at least that of the members of all objects in JSON; closer to it if above `enough`.

    The name of a member has two quotes, and the first of them does not follow a backslash.
    """
    quotes = data.count(b'"')
    return quotes // 2 if quotes // 2 <= enough else min(quotes // 2, quotes - data.count(b'\\"'))


def _check_roles(place: str, members: Iterable[str]) -> None:
    if alike := lookalike(members, _ROLE):
        raise malformed(f"{alike[0][:64]!r} in {place} must be spelled 'role'")


def _decode[T](raw: msgspec.Raw | bytes, decoder: msgspec.json.Decoder[T], where: str, wanted: str) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed(f"{where} must be {wanted}") from None


def _has_room(length: int, values: dict[str, msgspec.Raw]) -> bool:
    """Return whether an object of this length could hold one of these members a second time."""
    written = 1 + sum(map(len, values)) + sum(map(len, values.values())) + 4 * len(values)
    return length - written >= min(map(len, values), default=0) + SHORTEST_MEMBER


def _closely_written(length: int, objects: list[dict[str, msgspec.Raw]]) -> bool:
    """Return whether an array holds only these members of its objects, and no white space."""
    keys = sum(map(len, chain.from_iterable(objects)))
    values = sum(map(len, chain.from_iterable(map(_values, objects))))
    members = sum(map(len, objects))
    return length == 1 + 2 * len(objects) + keys + values + 4 * members


def _spans(data: RequestBody, values: dict[str, msgspec.Raw], named: str) -> dict[str, tuple[int, int]]:
    spans: dict[str, tuple[int, int]] = {}
    position = data.index(b"{") + 1
    for _ in values:
        found = _KEY.match(data, position)
        quoted = found[1] if found else b'""'
        key = _key.decode(quoted) if b"\\" in quoted else quoted[1:-1].decode()
        start = found.end() if found else position
        value = memoryview(values.get(key, b""))
        after = _NEXT.match(data, start + len(value))
        if key in spans or key not in values or not after or not data.startswith(value, start):
            raise malformed(f"a key appears twice in {named}: {_first_twice(data, values)}")
        spans[key] = (start, start + len(value))
        position = after.end()
    if values and data[position - 1 : position] != b"}":
        raise malformed(f"a key appears twice in {named}: {_first_twice(data, values)}")
    return spans


def _first_twice(data: RequestBody, values: dict[str, msgspec.Raw]) -> str:
    """Name a key that is written twice, as a help to the caller; the refusal does not depend on it."""
    for key in values:
        quoted = msgspec.json.encode(key)
        if key.isidentifier() and data.count(quoted) > 1:
            return key
    return "an escaped or unusual one"


def _check_utf8(data: RequestBody) -> None:
    # In pieces: one decode of a large body would make a string several times its size.
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    try:
        for start in range(0, len(view), UTF8_PIECE):
            decoder.decode(view[start : start + UTF8_PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise malformed("it is not UTF-8") from None
