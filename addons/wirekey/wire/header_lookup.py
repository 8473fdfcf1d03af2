"""Faster headers. mitmproxy's `Headers` walks all fields for each lookup, and converts their names to lower case.

Here the fields of a `Headers` are sorted by name once, at the first lookup, and each lookup after it is one of a
dictionary. The index ends with the fields that it was made of: nothing that is removed from a flow stays in it.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from mitmproxy import http

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    Fields = tuple[tuple[bytes, bytes], ...]
    Index = dict[bytes, bytes | tuple[bytes, ...]]
    """Lower-case name → the value, or the values of a repeated name."""

MOST_NAMES = 512
"""Names that are looked up. All but a few are constants of the code."""
keys: dict[str | bytes, bytes] = {}
"""A name as it is asked for → the same in lower case."""
BYTES = frozenset({bytes})
PAIR = frozenset({2})
METHODS = {name.encode(): name for name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT")}
NAME, VALUE = itemgetter(0), itemgetter(1)


def install() -> None:
    """Replace the lookup of mitmproxy's headers, for the whole process."""
    replaced: Any = http.Headers
    replaced.__init__ = make
    replaced._index = None  # noqa: SLF001  # of ours
    replaced.fields = property(attrgetter("_fields"), set_fields)
    replaced.get_all = get_all
    replaced.get = get
    replaced.__getitem__ = get_item
    replaced.__contains__ = contains
    for kind, name, read in (
        (http.Message, "headers", attrgetter("data.headers")),
        (http.Request, "method", method_of),
        (http.Response, "status_code", attrgetter("data.status_code")),
    ):
        setattr(kind, name, property(read, getattr(kind, name).fset))


def method_of(request: http.Request) -> str:
    """Return the method of a request, in upper case."""
    method = request.data.method
    return METHODS.get(method) or method.decode("utf-8", "surrogateescape").upper()


def make(self: Any, fields: Iterable[tuple[bytes, bytes]] = (), **headers: str | bytes) -> None:
    """Replace `Headers.__init__`. Raises TypeError unless all names and values are bytes."""
    self.fields = made = tuple(map(tuple, fields))
    if not (BYTES.issuperset(map(type, chain.from_iterable(made))) and PAIR.issuperset(map(len, made))):
        raise TypeError("Header fields must be bytes.")
    for name, value in headers.items():
        self[name.replace("_", "-")] = value


def set_fields(self: Any, fields: Fields) -> None:
    """Replace the fields, and forget the index of the previous ones."""
    self._fields = fields
    self._index = None


def set_value(headers: Any, name: bytes, value: bytes) -> None:
    """Replace the value of a header wherever it is, and keep the index.

    `name`: in lower case.
    """
    index = headers._index  # noqa: SLF001  # of ours
    headers.fields = tuple([(field[0], value) if field[0].lower() == name else field for field in headers.fields])
    if index is not None and type(index.get(name)) is bytes:
        headers._index = {**index, name: value}  # noqa: SLF001  # of ours


def index_of(headers: Any) -> Index:
    """Make and keep the values of the fields by lower-case name.

    Copies of the headers have the same index: it is never changed.
    """
    fields = headers._fields  # of ours
    index: Index = dict(zip(map(bytes.lower, map(NAME, fields)), map(VALUE, fields), strict=True))
    if len(index) != len(fields):
        for name, value in fields:
            key = name.lower()
            before = index[key]
            index[key] = (*before, value) if type(before) is tuple else (value,)
    headers._index = index  # noqa: SLF001  # of ours
    return index


def key_of(name: str | bytes) -> bytes:
    """Return a name in lower case."""
    key = (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()
    if len(keys) < MOST_NAMES:
        keys[name] = key
    return key


# The index is looked up in each of these, not in a function of its own: they run forty times for each request.


def get_all(self: Any, name: str | bytes) -> list[str]:
    """Return the values of a header, in order. The name may have any case."""
    index = self._index
    if index is None:
        index = index_of(self)
    found = index.get(keys.get(name) or key_of(name), ())
    values = found if type(found) is tuple else (found,)
    return [value.decode("utf-8", "surrogateescape") for value in values]


def get(self: Any, name: str | bytes, default: Any = None) -> Any:
    """Return the value of a header, several joined by commas; the default if it is not there."""
    index = self._index
    if index is None:
        index = index_of(self)
    found = index.get(keys.get(name) or key_of(name))
    if found is None:
        return default
    return (b", ".join(found) if type(found) is tuple else found).decode("utf-8", "surrogateescape")


def get_item(self: Any, name: str | bytes) -> str:
    """Return the value of a header, several joined by commas. Raises KeyError if it is not there."""
    value: str | None = get(self, name)
    if value is None:
        raise KeyError(name)
    return value


def contains(self: Any, name: str | bytes) -> bool:
    """Return whether a header is there. The name may have any case."""
    index = self._index
    if index is None:
        index = index_of(self)
    return (keys.get(name) or key_of(name)) in index


def by_name(headers: Any, names: Collection[bytes] | None = None) -> dict[str, str]:
    """Return the headers by lower-case name. The values of a repeated name are joined with commas.

    `names`: only these, in lower case.
    """
    index = headers._index  # noqa: SLF001  # of ours
    if index is None:
        index = index_of(headers)
    found = index.items() if names is None else [item for item in index.items() if item[0] in names]
    return {
        name.decode("latin-1"): (b", ".join(value) if type(value) is tuple else value).decode("latin-1")
        for name, value in found
    }
