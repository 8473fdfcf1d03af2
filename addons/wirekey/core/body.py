"""The body of a request: `bytes`, or a file that is mapped into memory if it is large.

A body of more than `SPOOL_ABOVE` bytes is written to a spool file as it arrives, and then mapped. JSON, forms and
hashes are read from the map without a copy. An edit makes another file. Sending reads piece by piece. The pages of the
map belong to the system's file cache, which the system can reclaim. The event loop waits for each write: about 20 µs
for 64 KiB into the cache, and longer if the disk is slow.

The file has no name (O_TMPFILE, or it is unlinked at once), and only its owner may read it (0600). It disappears with
the last reference to it, however the call or the process ends.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import tempfile
from enum import StrEnum
from typing import TYPE_CHECKING

from wirekey.core.errors import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SPOOL_ABOVE = 4 * 1024 * 1024
"""Bytes of a body up to which it is held in memory."""
PIECE = 256 * 1024
"""Bytes of a body that are read, hashed or sent at once; a whole number of memory pages."""

type RequestBody = bytes | SpooledBody


class Body(StrEnum):
    """How a request body of an operation is treated."""

    NONE = "none"  # the request has no body, or it is empty
    JSON = "json"  # read whole, strict UTF-8 JSON object
    MULTIPART = "multipart"  # read whole; only small form fields are looked at
    OPAQUE = "opaque"  # streamed through unread (file bytes)
    EVENTS = "events"  # streamed through while the response streams: signed events, each verified and signed again
    WEBSOCKET = "websocket"  # none; the request opens a connection, whose messages are decided one by one
    MESSAGE = (
        "message"  # none; the first message of the connection that the request opens is read in its place, as JSON
    )


READ_AS_JSON = (Body.JSON, Body.MESSAGE)
WEBSOCKETS = (Body.WEBSOCKET, Body.MESSAGE)
"""Of operations that open a WebSocket."""


class Spool:
    """The file of a body that is being received. It is closed, and raises Refusal(503), if the disk has no room."""

    def __init__(self, folder: Path, *, hashing: bool = False, reserve: int = 0) -> None:
        """Open a file in `folder`.

        `hashing`: whether the SHA-256 is needed, so that it is computed while the body arrives. `reserve`: bytes of the
        disk that must stay free.
        """
        self.folder = folder
        self.reserve = reserve
        self.sha256 = hashlib.sha256() if hashing else None
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed by finish or close
        except OSError as error:
            raise cannot_spool(error) from None

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Raises Refusal(503)."""
        view = memoryview(data)
        try:
            if self.reserve:
                self.leave_reserve(len(view))
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.close()
            raise cannot_spool(error) from None
        if self.sha256:
            self.sha256.update(data)

    def leave_reserve(self, size: int) -> None:
        """Raise OSError if `size` more bytes would leave less room on the disk than the reserve."""
        disk = os.statvfs(self._file.fileno())
        if disk.f_bavail * disk.f_frsize - size < self.reserve:
            raise OSError(errno.ENOSPC, "the rest of its disk is kept for the audit: limits.disk_reserve")

    def finish(self) -> SpooledBody:
        """Close the file and return its content, which must not be empty. Raises Refusal(503)."""
        try:
            body = SpooledBody(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise cannot_spool(error) from None
        finally:
            self.close()
        body.folder, body.reserve = self.folder, self.reserve
        body.sha256 = self.sha256.hexdigest() if self.sha256 else None
        return body

    def close(self) -> None:
        """Close the file, and so delete it unless it is mapped."""
        self._file.close()


class SpooledBody(mmap.mmap):
    """A complete body in a mapped file, with the methods of `bytes` that readers of requests use.

    A slice is a copy in memory; `memoryview(body)` is not. It is never closed explicitly: views of it may exist.
    """

    folder: Path
    reserve: int
    sha256: str | None
    """Lower-case hex, or None if it was not computed yet."""
    values: int | None = None
    """An upper bound of its JSON values, or None if they were not counted and its UTF-8 was not checked yet."""
    spans: dict[str, tuple[int, int]] | None = None
    """The offsets of the values of its JSON object's members, in order, or None if it was not read yet."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the body, with one piece in memory at a time."""
        for start in range(0, len(self), PIECE):
            yield self[start : start + PIECE]
            self.release_pages(start, min(PIECE, len(self) - start))

    def digest(self) -> str:
        """Return the SHA-256 in lower-case hex. Computing it takes half a millisecond for each MiB, once."""
        if self.sha256 is None:
            sha256 = hashlib.sha256()
            for piece in self.pieces():
                sha256.update(piece)
            self.sha256 = sha256.hexdigest()
        return self.sha256

    def joined(self, pieces: Iterable[bytes | memoryview]) -> SpooledBody:
        """Return another body made of these pieces, in a new file. Raises Refusal(503) if the disk has no room."""
        spool = Spool(self.folder, reserve=self.reserve)
        for piece in pieces:
            spool.write(piece)
        return spool.finish()

    def release_pages(self, start: int = 0, length: int | None = None) -> None:
        """Remove pages from the process's memory. They are read from the file again when they are used again."""
        self.madvise(mmap.MADV_DONTNEED, start, len(self) - start if length is None else length)

    # The methods of bytes.

    def startswith(self, prefix: bytes | memoryview, start: int = 0) -> bool:
        """Return whether the body has `prefix` at `start`."""
        view = memoryview(prefix)
        return start + len(view) <= len(self) and all(
            self[start + at : start + min(at + PIECE, len(view))] == bytes(view[at : at + PIECE])
            for at in range(0, len(view), PIECE)
        )

    def index(self, wanted: bytes, start: int = 0) -> int:
        """Return where `wanted` first occurs. Raises ValueError if it does not."""
        found = self.find(wanted, start)
        if found < 0:
            raise ValueError("subsection not found")
        return found

    def count(self, wanted: bytes) -> int:
        """Return how often `wanted`, of one byte or more, occurs."""
        windows = range(0, len(self), PIECE)
        return sum(self[start : start + PIECE + len(wanted) - 1].count(wanted) for start in windows)

    def isascii(self) -> bool:
        """Return whether all bytes are ASCII."""
        return all(self[start : start + PIECE].isascii() for start in range(0, len(self), PIECE))

    def __contains__(self, wanted: object) -> bool:
        return isinstance(wanted, bytes) and self.find(wanted) >= 0


def cannot_spool(error: OSError) -> Refusal:
    """Return the error for a body that could not be written to the disk."""
    return Refusal(
        503,
        "cannot_hold_body",
        f"The request body is large, and Wirekey could not write it to its state folder ({error.strerror}). Try again "
        "later. The operator of Wirekey can make room in the folder `tmp` there.",
        Fault.OPERATOR,
    )
