"""Edits the JSON body of a request. Every byte outside the changed values stays as it is.

Prompt caches and the hashes that clients make of their requests depend on that. A body is parsed once: `EditableBody`
collects all changes that are wanted in it, each of which sees those before it, and writes them in one pass. A member
that is added stands in front of the others.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, overload

import msgspec

from wirekey.providers.request_json import JsonObject, read_body, read_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wirekey.core.body import RequestBody

type Edit = tuple[int, int, bytes]
"""Start and end of a span, as offsets within the data, and the bytes that replace it."""
type Members = Mapping[str, bytes | Members]
"""Members of an object and the JSON of each; a nested mapping holds members of the object under its key."""


@overload
def apply_edits(data: bytes, edits: Iterable[Edit]) -> bytes: ...
@overload
def apply_edits(data: RequestBody, edits: Iterable[Edit]) -> RequestBody: ...
def apply_edits(data: RequestBody, edits: Iterable[Edit]) -> RequestBody:
    """Return the data with these edits, which do not overlap. Without edits, the same object is returned.

    All edits are made in one pass, as a batch may need 100,000 of them. Raises Refusal(503) if the data lies on a disk
    that has no room for the result.
    """
    pieces: list[bytes | memoryview] = []
    view = memoryview(data)
    position = 0
    for start, end, text in sorted(edits):
        pieces += (view[position:start], text)
        position = end
    if not pieces:
        return data
    pieces.append(view[position:])
    return b"".join(pieces) if isinstance(data, bytes) else data.joined(pieces)


class EditableBody:
    """The JSON body of one request and all changes that are to be made in it. It is parsed when `root` is used."""

    def __init__(self, data: RequestBody) -> None:
        self.data = data

    @cached_property
    def root(self) -> EditableObject:
        """The body as one object. Raises Refusal(400) unless it is one strict JSON object."""
        return EditableObject(read_body(self.data))

    def written(self) -> RequestBody:
        """Return the body with all changes; the same object if nothing changed."""
        return apply_edits(self.data, self.root.edits()) if "root" in self.__dict__ else self.data


class EditableObject:
    """One JSON object of a request body and the changes that are to be made in it.

    `members` are those that the object will have, with the changes so far.
    """

    __slots__ = ("_added", "_children", "_item_edits", "_removed", "_source", "_written", "members")

    def __init__(self, source: JsonObject) -> None:
        self.members = self._source = source
        self._written: dict[str, bytes] = {}
        self._added: list[str] = []
        self._removed: set[str] = set()
        self._children: dict[str, EditableObject] = {}
        self._item_edits: list[Edit] = []

    def child(self, key: str) -> EditableObject | None:
        """Return the object under a key, or None if it is absent or null.

        Raises Refusal(400) if something else stands there.
        """
        if key not in self._children:
            inner = self.members.child(key)
            if inner is None:
                return None
            self._children[key] = EditableObject(inner)
        return self._children[key]

    def items(self, key: str) -> Iterator[EditableObject]:
        """Yield the objects of the array under a key; one object may stand there alone, as Google's servers allow.

        The changes in an object are collected when the next one is asked for, so that a long array is never held as
        objects. Raises Refusal(400) if an item is no object.
        """
        members = self._source
        if key not in members.values:
            return
        position = members.spans[key][0]
        alone = members.starts(key, b"{")
        for index, raw in enumerate([members.values[key]] if alone else members.items(key)):
            item = EditableObject(read_object(bytes(raw), f"{members.where(key)}[{index}]"))
            # Between two objects of an array stand a comma and white space only.
            position = members.data.index(b"{", position)
            yield item
            self._item_edits += [(position + start, position + end, text) for start, end, text in item.edits()]
            position += len(raw)

    def set(self, members: Members) -> None:
        """Set these members. Those that are absent are added in this order, in front of the others."""
        added: list[str] = []
        for key, value in members.items():
            if isinstance(value, bytes):
                self._write(key, value, added)
                continue
            child = self.child(key)
            if child is None:
                self._write(key, b"{}", added)
                child = self.child(key)
                assert child
            child.set(value)
        self._added = added + self._added

    def remove(self, key: str) -> None:
        """Remove a member that the body has. It is not to be set again."""
        assert key in self._source.values
        self._copy_members()
        self._children.pop(key, None)
        del self.members.values[key]
        self._removed.add(key)

    def _write(self, key: str, value: bytes, added: list[str]) -> None:
        if key not in self.members.values:
            added.append(key)
        self._children.pop(key, None)
        self._written[key] = value
        self._copy_members()
        self.members.values[key] = msgspec.Raw(value)

    def _copy_members(self) -> None:
        if self.members is self._source:
            self.members = JsonObject(self._source.data, dict(self._source.values), self._source.place)

    def edits(self) -> Iterator[Edit]:
        """Yield the edits of the object's own bytes that make all changes."""
        source = self._source
        inside = {key: list(child.edits()) for key, child in self._children.items()}
        written = {key: apply_edits(value, inside.pop(key, ())) for key, value in self._written.items()}
        replaced = written.keys() & source.values.keys()
        spans = source.spans if replaced or self._removed or any(inside.values()) else {}
        for key in replaced:
            yield *spans[key], written[key]
        for key, edits in inside.items():
            for start, end, text in edits:
                yield spans[key][0] + start, spans[key][0] + end, text
        if self._added:
            place = source.data.index(b"{") + 1
            added = b",".join(b'"%s":%s' % (key.encode(), written[key]) for key in self._added)
            yield place, place, added + (b"," if len(source.values) > len(self._removed) else b"")
        yield from self._removals(spans)
        yield from self._item_edits

    def _removals(self, spans: Mapping[str, tuple[int, int]]) -> Iterator[Edit]:
        """Yield the edits that remove members, each with the comma before it, or that of the first member left."""
        if not self._removed:
            return
        data = self._source.data
        end_before = data.index(b"{") + 1
        is_first_left = True
        for key in self._source.values:
            end = spans[key][1]
            if key in self._removed:
                yield end_before, end, b""
            elif is_first_left:
                is_first_left = False
                if data[end_before - 1 : end_before] != b"{":
                    yield end_before, data.index(b",", end_before) + 1, b""
            end_before = end
