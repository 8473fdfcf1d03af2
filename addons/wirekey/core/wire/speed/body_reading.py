"""Reading the bytes of an HTTP/1.1 body that were received together as one piece, with the state of h11's readers.

h11 reads a chunk, or a part of one, at a time. After each call here, its reader is in the state that it would be in had
it read the same bytes, so that it can continue at any byte. It reads the end of a body, and whatever is malformed.
"""

from __future__ import annotations

import re

from h11._readers import ChunkedReader, ContentLengthReader, Http10Reader

CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
"""The line before a chunk, without extensions."""


def read_body(reader: ChunkedReader | ContentLengthReader | Http10Reader, data: bytes) -> tuple[bytes, bytes | None]:
    """Return the bytes of a body, and what follows them: the end, an unfinished line, or what is malformed.

    None follows if the body has more bytes to come, and all of `data` was read.
    """
    if isinstance(reader, ChunkedReader):
        body, rest = read_chunks(reader, data)
        return body, rest or None
    if not isinstance(reader, ContentLengthReader):
        return data, None
    left = reader._remaining  # noqa: SLF001
    if len(data) < left:
        reader._remaining = left - len(data)  # noqa: SLF001
        return data, None
    reader._remaining = 0  # noqa: SLF001
    return (data, b"") if len(data) == left else (data[:left], data[left:])


def read_chunks(reader: ChunkedReader, data: bytes) -> tuple[bytes, bytes]:
    """Return the bytes of the chunks in `data`, and what follows them. Leaves the reader in the state of h11's."""
    parts: list[bytes] = []
    at, end = 0, len(data)
    if not (reader._bytes_to_discard or reader._bytes_in_chunk or reader._reading_trailer):  # noqa: SLF001
        # The usual case: chunks that are there as a whole.
        while line := CHUNK_LINE.match(data, at):
            start = line.end()
            stop = start + int(line[1], 16)
            if stop == start or not data.startswith(b"\r\n", stop):
                break
            parts.append(data[start:stop])
            at = stop + 2
    while at < end and not reader._reading_trailer:  # noqa: SLF001
        if missing := reader._bytes_to_discard:  # noqa: SLF001
            ending = data[at : at + len(missing)]
            if not missing.startswith(ending):
                break
            reader._bytes_to_discard = missing[len(ending) :]  # noqa: SLF001
            at += len(ending)
            continue
        start, size = at, reader._bytes_in_chunk  # noqa: SLF001
        if not size:
            line = CHUNK_LINE.match(data, at)
            size = int(line[1], 16) if line else 0
            if line is None or not size:
                break
            start = line.end()
        part = data[start : start + size]
        parts.append(part)
        at = start + len(part)
        reader._bytes_in_chunk = size - len(part)  # noqa: SLF001
        if len(part) == size:
            reader._bytes_to_discard = b"\r\n"  # noqa: SLF001
    return parts[0] if len(parts) == 1 else b"".join(parts), data[at:]
