"""A string that does not show itself: no repr, no str, no format, no pickle, no hash."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Holds one secret value. Only `reveal()` gives it back; call it where the bytes go on the wire.

    Raises ValueError at construction when the value is empty or holds a control character or a
    non-ASCII character: such a value would break, or split, the header that it is to be put into.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value:
            raise ValueError("the secret is empty")
        if not (value.isascii() and value.isprintable()):
            raise ValueError("the secret holds a line break, a control character or a non-ASCII character")
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a way to compare it in variable time

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled")
