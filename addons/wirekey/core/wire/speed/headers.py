"""Headers whose look-ups take a fifth of the instructions. A message has them once its head has arrived.

They keep the names of the fields in lower case, and no values: a credential that was removed from the fields is gone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, override

from mitmproxy import http

if TYPE_CHECKING:
    from collections.abc import Iterable


class QuickHeaders(http.Headers):
    """mitmproxy's headers, with the names of their fields ready for look-ups."""

    _places: dict[bytes, int] | None
    """The place of each field, by its name in lower case. None: the fields have been replaced since the last look-up.

    If a name is repeated, it has the last place, and there are fewer names than fields.
    """

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name == "fields":
            object.__setattr__(self, "_places", None)

    def listed(self) -> dict[bytes, int]:
        """List the names of the fields, and return the list."""
        places = {field.lower(): place for place, (field, _) in enumerate(self.fields)}
        object.__setattr__(self, "_places", places)
        return places

    @override
    def get_all(self, name: str | bytes) -> list[str]:
        """Return the values of a header, as mitmproxy's class does."""
        places = self._places
        if places is None:
            places = self.listed()
        key = in_lower_case(name)
        place = places.get(key)
        if place is None:
            return []
        if len(places) == len(self.fields):
            return [self.fields[place][1].decode("utf-8", "surrogateescape")]
        return [value.decode("utf-8", "surrogateescape") for field, value in self.fields if field.lower() == key]

    # The places are looked up in each of these, not in a function of its own: they run 40 times for each request.

    def get(self, key: str | bytes, default: Any = None) -> Any:  # as Mapping declares it
        """Return the values of a header, separated by commas, or the default."""
        places = self._places
        if places is None:
            places = self.listed()
        place = places.get(in_lower_case(key))
        if place is None:
            return default
        fields = self.fields
        if len(places) == len(fields):
            return fields[place][1].decode("utf-8", "surrogateescape")
        return ", ".join(self.get_all(key))

    @override
    def __getitem__(self, key: str | bytes) -> str:
        value: str | None = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    @override
    def __contains__(self, key: object) -> bool:
        places = self._places
        if places is None:
            places = self.listed()
        return in_lower_case(key) in places


@lru_cache(maxsize=512)
def in_lower_case(name: str | bytes) -> bytes:
    """Return the name of a header in lower case. Nearly all that are looked up are constants of the code."""
    return (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()


def read_fields(fields: Iterable[tuple[bytes, bytes]]) -> QuickHeaders:
    """Return the headers of these fields, which mitmproxy has read from bytes, so that they are not checked again."""
    headers = QuickHeaders.__new__(QuickHeaders)
    headers.fields = tuple(fields)
    return headers


def with_quick_headers(message: http.Message) -> None:
    """Replace the headers of a message, unless they are quick, as those of HTTP/1 are from the beginning."""
    if type(message.data.headers) is not QuickHeaders:
        message.data.headers = read_fields(message.data.headers.fields)
