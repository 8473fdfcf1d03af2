"""Reads the small fields of a multipart/form-data body (RFC 7578); files in it are stepped over unread.

Stricter than the RFC wherever servers differ in what they read: only CRLF, nothing before the first boundary or
after the last, one name for one field.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from wirekey.providers.lookalikes import letters
from wirekey.providers.request_json import malformed

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.providers.json_edits import Edit

FIELD_LENGTH = 1024
PART_HEADERS_LENGTH = 4096
PARTS_LIMIT = 1000

_CONTENT_TYPE = re.compile(
    r"multipart/form-data[ \t]*;[ \t]*boundary="
    r"""(?:"([A-Za-z0-9'()+_,./:=? -]{1,70})"|([A-Za-z0-9'+_.-]{1,70}))""",
    re.IGNORECASE,
)
# Names come in quotes or, from .NET, without.
_DISPOSITION = re.compile(
    rb'form-data[ \t]*;[ \t]*name=(?:"([^"\\\r\n]*)"|([A-Za-z0-9_.\[\]-]+))'
    rb'([ \t]*;[ \t]*filename=(?:"[^"\r\n]*"|[A-Za-z0-9_.-]+)(?:[ \t]*;[ \t]*filename\*=[^\r\n; ]*)?)?',
    re.IGNORECASE,
)
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[A-Za-z]\?")
_PLAIN_TEXT = re.compile(rb'[ \t]*text/plain[ \t]*(?:;[ \t]*charset="?(?:utf-8|us-ascii)"?[ \t]*)?', re.IGNORECASE)


def is_form(content_type: str) -> bool:
    """Return whether a Content-Type is that of a form."""
    return content_type.lower().lstrip().startswith("multipart/form-data")


def read_fields(content_type: str, body: RequestBody, wanted: tuple[str, ...]) -> dict[str, str]:
    """Return the wanted fields that are present. Raises Refusal(400) if a field could be read in two ways."""
    return {name: body[start:end].decode() for name, (start, end) in field_spans(content_type, body, wanted).items()}


def field_edit(content_type: str, body: RequestBody, name: str, text: str) -> Edit:
    """Return the edit that sets a field; if there is no such field, it is added in front of all others.

    Raises ValueError if the text would end its own part, Refusal(400) as `read_fields` does.
    """
    delimiter = _delimiter(content_type)
    value = text.encode()
    # The line end before a value is that of its headers.
    if delimiter in b"\r\n" + value:
        raise ValueError("it holds the boundary of the form")
    span = field_spans(content_type, body, (name,)).get(name)
    if span:
        return (*span, value)
    disposition = b'Content-Disposition: form-data; name="%s"' % name.encode()
    return 0, 0, b"\r\n".join((delimiter[2:], disposition, b"", value, b""))


def field_spans(content_type: str, body: RequestBody, wanted: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Return the spans of the values of the wanted fields, as offsets within the body."""
    delimiter = _delimiter(content_type)
    if not body.startswith(delimiter[2:]):
        raise malformed("it does not begin with its multipart boundary")
    spans: dict[str, tuple[int, int]] = {}
    position = len(delimiter) - 2
    parts = 0
    while not body.startswith(b"--", position):
        if not body.startswith(b"\r\n", position):
            raise malformed("a multipart boundary in it is not followed by a line end")
        end = body.find(delimiter, position)
        if end < 0:
            raise malformed("its last multipart boundary is missing")
        parts += 1
        if parts > PARTS_LIMIT:
            raise malformed(f"it has more than {PARTS_LIMIT} parts")
        _read_part(body, position + 2, end, wanted, spans)
        position = end + len(delimiter)
    if body[position + 2 :] not in (b"", b"\r\n"):
        raise malformed("something follows its last multipart boundary")
    return spans


def _delimiter(content_type: str) -> bytes:
    matched = _CONTENT_TYPE.fullmatch(content_type.strip())
    if not matched:
        raise malformed("its Content-Type is not multipart/form-data with one plain boundary")
    return b"\r\n--" + (matched[1] or matched[2]).encode()


def _field_name(written: bytes) -> str:
    """Read the name of a field. Raises Refusal(400) for a name that some servers decode, or that sets a charset."""
    name = written.decode("utf-8", "replace")
    if not name.isprintable() or "\N{REPLACEMENT CHARACTER}" in name:
        raise malformed("the name of a form field holds control characters or is not UTF-8")
    if _ENCODED_WORD.search(name):
        raise malformed("the name of a form field is an encoded word; write the name itself")
    if letters(name) == "charset":
        raise malformed("a form field sets the charset of the others; send UTF-8 without it")
    return name


def _wanted_name(name: str, wanted: tuple[str, ...]) -> str | None:
    """Return the wanted field that a name is or looks like; None if it is a different field."""
    if name in wanted:
        return name
    for spelled in (name, unquote(name)):
        for part in (spelled, spelled.partition("[")[0]):
            for field in wanted:
                if letters(part) == letters(field):
                    return field
    return None


def _read_part(
    body: RequestBody, start: int, end: int, wanted: tuple[str, ...], spans: dict[str, tuple[int, int]]
) -> None:
    after_headers = body.find(b"\r\n\r\n", start, min(end, start + PART_HEADERS_LENGTH))
    if after_headers < 0:
        raise malformed("a part of its form has no end of headers")
    headers = [line.partition(b":") for line in body[start:after_headers].split(b"\r\n")]
    names = [name.lower() for name, _, _ in headers]
    if (
        names.count(b"content-disposition") != 1
        or len(set(names)) < len(names)
        or any(name.strip(b" \t") != name for name in names)
    ):
        raise malformed("a part of its form has no plain Content-Disposition")
    disposition = _DISPOSITION.fullmatch(headers[names.index(b"content-disposition")][2].strip(b" \t"))
    if not disposition:
        raise malformed("a part of its form has a Content-Disposition that could be read in two ways")
    name = _field_name(disposition[1] or disposition[2] or b"")
    plain = _wanted_name(name, wanted)
    if plain is None:
        return
    typed = b"content-type" in names and not _PLAIN_TEXT.fullmatch(headers[names.index(b"content-type")][2])
    if name != plain or disposition[3] or typed or b"content-transfer-encoding" in names or name in spans:
        raise malformed(f"the form field {plain!r} appears twice, is a file, is encoded or has an unusual spelling")
    value = body[after_headers + 4 : end]
    if len(value) > FIELD_LENGTH:
        raise malformed(f"the form field {plain!r} is too long")
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed(f"the form field {plain!r} is not UTF-8") from None
    spans[name] = (after_headers + 4, end)
