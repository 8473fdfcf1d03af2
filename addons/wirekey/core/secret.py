"""A string that is not printed by accident: no repr, no str, no format, no pickle, no hash."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A secret value, such as a key. Only `reveal()` returns it; use that where the bytes are sent.

    Equality takes constant time. Raises ValueError if the value is empty or contains a control character or a non-ASCII
    character, as such a value would break, or split, the header that it is put into.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value:
            raise ValueError("the secret is empty")
        if not (value.isascii() and value.isprintable()):
            raise ValueError("the secret contains a line break, a control character or a non-ASCII character")
        self._value = value

    def reveal(self) -> str:
        """Return the value."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # comparing hashes would take variable time

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")
