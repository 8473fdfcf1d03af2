"""Headers whose look-ups take a third of the instructions. A message has them once its head has arrived.

They keep the names of the fields in lower case, and no values: a credential that was removed from the fields is gone.
"""

from __future__ import annotations

from typing import Any, override

from mitmproxy import http


class QuickHeaders(http.Headers):
    """mitmproxy's headers, with the names of their fields ready for look-ups."""

    _names: tuple[bytes, ...] | None
    """The name of each field in lower case. None: the fields have been replaced since the last look-up."""

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name == "fields":
            object.__setattr__(self, "_names", None)

    @override
    def get_all(self, name: str | bytes) -> list[str]:
        """Return the values of a header, as mitmproxy's class does."""
        key = (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()
        names = self._names
        if names is None:
            names = tuple([field.lower() for field, _ in self.fields])
            object.__setattr__(self, "_names", names)
        count = names.count(key)
        if count == 0:
            return []
        if count == 1:
            return [self.fields[names.index(key)][1].decode("utf-8", "surrogateescape")]
        fields = zip(names, self.fields, strict=True)
        return [value.decode("utf-8", "surrogateescape") for one, (_, value) in fields if one == key]

    def get(self, key: str | bytes, default: Any = None) -> Any:  # as Mapping declares it
        """Return the values of a header, separated by commas, or the default."""
        values = self.get_all(key)
        return ", ".join(values) if values else default

    @override
    def __getitem__(self, key: str | bytes) -> str:
        values = self.get_all(key)
        if not values:
            raise KeyError(key)
        return ", ".join(values)

    @override
    def __contains__(self, key: object) -> bool:
        return bool(self.get_all(key))  # type: ignore[arg-type]


def with_quick_headers(message: http.Message) -> None:
    """Replace the headers of a message whose fields mitmproxy has read, so that they are not checked again."""
    headers = QuickHeaders.__new__(QuickHeaders)
    headers.fields = message.data.headers.fields
    message.data.headers = headers
