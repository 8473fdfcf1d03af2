"""Media types, base64 and data URLs of images, audio and documents."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes, urlsplit

from msgspec.structs import replace

from wirekey.features.translation import neutral as n
from wirekey.features.translation.losses import cannot_translate

IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_LETTERS = re.compile(r"[A-Za-z0-9+/]+")
_PIECE = 64 * 1024
_DATA_URL = re.compile(r"data:([^,]*),", re.IGNORECASE)

CONVERSE_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
"""Formats of documents in Converse, by media type (botocore's DocumentFormat)."""
_BY_ENDING = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
}
DOCUMENT_FORMATS = {found: media_type for media_type, found in CONVERSE_DOCUMENTS.items()}


def media_type(text: str) -> str:
    """Return a media type in lower case without parameters, and `image/jpeg` for `image/jpg`."""
    found = text.partition(";")[0].strip().lower()
    return "image/jpeg" if found == "image/jpg" else found


def standard_base64(text: str, place: str) -> str:
    """Return base64 in the standard alphabet, padded, without white space. Raises Refusal if it is not base64."""
    if len(text) % 4 == 0 and _is_base64(text):
        return text
    text = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    if not _is_base64(text) or len(text) % 4 == 1:
        raise cannot_translate(place, "it is not base64")
    return text + "=" * (-len(text) % 4)


def _is_base64(text: str) -> bool:
    """Return whether text is base64. Long text is searched in pieces, because no other thread runs during a search."""
    *others, last = range(0, max(len(text), 1), _PIECE)
    whole = all(_LETTERS.fullmatch(text, start, start + _PIECE) for start in others)
    return whole and _BASE64.fullmatch(text, last) is not None


def text_of_base64(data: str, place: str) -> str:
    """Return UTF-8 text from base64. Raises Refusal if it is not UTF-8."""
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise cannot_translate(place, "it is not UTF-8 text in base64") from None


def base64_of_text(text: str) -> str:
    """Return text as base64 of its UTF-8 bytes."""
    return base64.b64encode(text.encode()).decode()


@dataclass(frozen=True, slots=True)
class DataUrl:
    """The media type and the standard base64 of a data URL."""

    media_type: str
    data: str


def parse_data_url(url: str, place: str) -> DataUrl | None:
    """Return the parts of a data URL, or None for another URL. Raises Refusal if it is malformed (RFC 2397)."""
    head = _DATA_URL.match(url)
    if not head:
        return None
    kind, *parameters = head[1].split(";")
    found = media_type(kind) or "text/plain"
    rest = url[head.end() :]
    if "base64" in [parameter.strip().lower() for parameter in parameters]:
        return DataUrl(found, standard_base64(rest, place))
    if not found.startswith("text/"):
        raise cannot_translate(place, "a data URL must be base64")
    return DataUrl(found, base64.b64encode(unquote_to_bytes(rest)).decode())


def by_ending(url: str) -> str | None:
    """Return the media type that the path of a URL ends in, or None if it is not known."""
    path = urlsplit(url).path
    return _BY_ENDING.get(path.rpartition(".")[2].lower()) if "." in path else None


def kind_of(found: str) -> Literal["image", "audio", "video"] | None:
    """Return the kind of a media type, or None if it is a document."""
    kind = found.partition("/")[0]
    return kind if kind in {"image", "audio", "video"} else None  # type: ignore[return-value]


def block_of(found: str, data: str, place: str, name: str | None = None) -> n.Media | n.Document:
    """Return the block for bytes in standard base64."""
    if kind := kind_of(found):
        return n.Media(kind, found, data=data)
    if found == "text/plain":
        return n.Document(found, text=text_of_base64(data, place), name=name)
    return n.Document(found, data=data, name=name)


def marked[Marked: n.Block](block: Marked, mark: n.CacheMark | None) -> Marked:
    """Return a block with a cache mark. Reasoning has none."""
    return block if mark is None or isinstance(block, n.Reasoning) else replace(block, cache=mark)


def checked_url(url: str, place: str) -> str:
    """Return a URL that a provider may fetch itself. Raises Refusal for a store of one provider, such as `gs://`."""
    if url.lower().startswith(("https://", "http://")):
        return url
    raise cannot_translate(place, "it is stored at a provider; send the bytes, or an https URL")
