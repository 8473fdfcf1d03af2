"""The ordinary contents of generateContent: texts, calls of functions and their responses.

Most contents of a large request are such. They are decoded into types, which takes a fifth of the time of reading them
member by member. A content that has anything else, or the other spelling of a name, is left to `read_request`, which
reads the same from these.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw

from wirekey.features.translation.members import NOT_DECODED

_NOTHING = Raw()
_NO_ARGUMENTS = frozenset({b"", b"null"})


class OrdinaryCall(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A call of a function."""

    name: str
    id: str | None = None
    args: Raw = _NOTHING

    @property
    def arguments(self) -> str:
        """The JSON of the arguments."""
        given = bytes(self.args)
        return "{}" if given in _NO_ARGUMENTS else given.decode()


class _Output(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    output: str


class OrdinaryResponse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The response of a function, as Google's SDKs write it."""

    name: str
    response: _Output
    id: str | None = None


class OrdinaryPart(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    """A part with one of these members."""

    text: str | None = None
    function_call: OrdinaryCall | None = None
    function_response: OrdinaryResponse | None = None

    @property
    def is_ordinary(self) -> bool:
        """Whether the part has one member only."""
        return (self.text is None) + (self.function_call is None) + (self.function_response is None) == 2


class OrdinaryContent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A content of such parts."""

    parts: list[OrdinaryPart]
    role: Literal["user", "model", "function", "tool"] = "user"


_DECODER = msgspec.json.Decoder(OrdinaryContent)


def ordinary_content(raw: Raw) -> OrdinaryContent | None:
    """Return an ordinary content, or None for any other."""
    try:
        content = _DECODER.decode(raw)
    except NOT_DECODED:
        return None
    return content if all(part.is_ordinary for part in content.parts) else None
