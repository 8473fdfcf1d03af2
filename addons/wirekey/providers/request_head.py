"""Reads the head of a request in one way only: what another server could read in a second way is refused.

Servers differ in which of two equal parameters or headers counts, in which spellings are equal, and in whether `_` in a
header's name is `-`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from wirekey.core.errors import Refusal
from wirekey.providers.lookalikes import letters

if TYPE_CHECKING:
    from collections.abc import Iterable

SINGLE_HEADERS = frozenset(
    [b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"host", b"expect", b"upgrade"]
)
"""Headers that a request has once at most."""
PROTECTED_HEADERS = SINGLE_HEADERS | {b"connection", b"keep-alive", b"te", b"trailer", b"content-range"}
"""Headers that no other spelling may stand for."""

# Characters that never need percent-encoding (RFC 3986, 2.3).
_NEEDLESS = re.compile(r"%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Google's generated REST clients send these. A reader that splits them at `;` finds a parameter unknown to Google.
_PLAIN = frozenset({"$alt=json;enum-encoding=int", "%24alt=json;enum-encoding=int"})
_PARAMETER = re.compile(r"""[ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("[^"\\]*"|[^\s;",]*)[ \t]*""")


def check_headers(fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse a second header, or a second spelling, of those that say how to read the request."""
    seen: set[bytes] = set()
    for written, _ in fields:
        name = written.lower()
        if b"_" in name and name.replace(b"_", b"-") in PROTECTED_HEADERS:
            raise unclear(f"the header {written[:64].decode('latin-1')!r} could be read with '-' in place of '_'")
        if name in SINGLE_HEADERS:
            if name in seen:
                raise unclear(f"the header {name.decode()!r} appears twice")
            seen.add(name)


def read_query(raw: str) -> dict[str, str]:
    """Read the query of a request, with names and values decoded.

    A list may have one parameter for each item if its name ends with `[]`; the last one is returned.

    Raises Refusal(400) if a parameter appears twice, or in a spelling that some servers read as another parameter.
    """
    if not raw:
        return {}
    if (";" in raw and any(";" in each and each not in _PLAIN for each in raw.split("&"))) or _BAD_ESCAPE.search(raw):
        raise unclear("its query holds ';' or an unfinished percent-encoding; encode ';' as %3B and '%' as %25")
    found: dict[str, str] = {}
    by_letters: dict[str, str] = {}
    for parameter in filter(None, raw.split("&")):
        written, _, value = parameter.partition("=")
        if _NEEDLESS.search(written):
            raise unclear(f"the query parameter {written[:64]!r} is percent-encoded without need; write it plainly")
        name = _decoded(written)
        other = by_letters.setdefault(letters(name) or name, name)
        if other != name:
            raise unclear(f"the query parameters {other[:64]!r} and {name[:64]!r} could be read as the same")
        if name in found and not name.endswith("[]"):
            raise unclear(f"the query parameter {name[:64]!r} appears twice")
        found[name] = _decoded(value.replace("+", " "))
    return found


def media_type_of(content_type: str) -> tuple[str, dict[str, str]]:
    """Split a Content-Type into its media type and parameters, in lower case.

    Raises Refusal(400) if a parameter appears twice or is not written as RFC 9110 says.
    """
    media, semicolon, _ = content_type.lower().partition(";")
    parameters: dict[str, str] = {}
    position = len(media)
    while semicolon and content_type[position:].strip(" \t;"):
        match = _PARAMETER.match(content_type.lower(), position)
        if not match:
            raise unclear("its Content-Type has a parameter that could be read in two ways")
        name = match[1].partition("*")[0]
        if name in parameters:
            raise unclear(f"its Content-Type has the parameter {name[:64]!r} twice")
        parameters[name] = match[2].strip('"')
        position = match.end()
    return media.strip(), parameters


def unclear(what: str) -> Refusal:
    """Return the refusal of an ambiguous request. `what` says what is wrong, as the end of a sentence."""
    return Refusal(400, "malformed", f"The request is refused: {what}.")


def _decoded(text: str) -> str:
    try:
        decoded = unquote_to_bytes(text.encode("latin-1", "replace")).decode("utf-8")
    except UnicodeDecodeError:
        raise unclear("its query is not UTF-8") from None
    if not decoded.isascii() or "\0" not in decoded:
        return decoded
    raise unclear("its query holds a NUL")
