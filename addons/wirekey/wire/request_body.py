"""The body of a large request: in a file without a name, so that memory holds a piece of it at a time.

Up to `SPOOL_ABOVE` a body is `bytes`. A longer one is written to the file as it arrives, and then mapped: what reads
bodies (JSON, forms, hashes) reads it where it lies, an edit makes another file, and what is sent is read piece by
piece. The pages belong to the system's file cache, which it takes back when memory runs short; the process counts a
page for as long as it has just looked at it. Writing is done where the bytes arrive, so the event loop waits for it:
some 20 µs for 64 KiB into the cache, and longer where the disk cannot follow.

The file has no name from the start on (O_TMPFILE, or else it is unlinked at once) and is its owner's only (0600): it is
gone with the last reference to it, however the call or the process ends.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import tempfile
from typing import TYPE_CHECKING

from wirekey.errors import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SPOOL_ABOVE = 4 * 1024 * 1024
"""Bytes of a body that are held in memory."""
PIECE = 256 * 1024
"""Bytes of a body that are handed on at once; a whole number of memory pages."""

type RequestBody = bytes | SpooledBody


class Spool:
    """A body while it arrives. Raises Refusal(503) where the folder or its disk cannot take it, and is closed then."""

    def __init__(self, folder: Path, *, hashing: bool = False, reserve: int = 0) -> None:
        """Begin a file in `folder`. `hashing`: whether a SHA-256 will be asked for, which is then made on the way.

        `reserve`: bytes of the disk that are left free.
        """
        self.folder = folder
        self.reserve = reserve
        self.sha256 = hashlib.sha256() if hashing else None
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed with the body
        except OSError as error:
            raise no_room(error) from None

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        try:
            if self.reserve:
                self.leave_reserve(len(view))
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.close()
            raise no_room(error) from None
        if self.sha256:
            self.sha256.update(data)

    def leave_reserve(self, size: int) -> None:
        """Raise OSError where the disk would have less room than the reserve after so many bytes more."""
        disk = os.statvfs(self._file.fileno())
        if disk.f_bavail * disk.f_frsize - size < self.reserve:
            raise OSError(errno.ENOSPC, "the rest of its disk is kept for the audit: limits.disk_reserve")

    def finish(self) -> SpooledBody:
        """Give what was written, at least one byte. Nothing more can be written."""
        try:
            body = SpooledBody(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise no_room(error) from None
        finally:
            self.close()
        body.folder, body.reserve = self.folder, self.reserve
        body.sha256 = self.sha256.hexdigest() if self.sha256 else None
        return body

    def close(self) -> None:
        self._file.close()


class SpooledBody(mmap.mmap):
    """A whole body, read where it lies: a buffer, with those methods of `bytes` that readers of requests use.

    A slice is a copy in memory, `memoryview(body)` is none. Never closed by hand, as parts of it may still be read.
    """

    folder: Path
    reserve: int
    sha256: str | None
    """In lower-case hex, where it is known already."""
    values: int | None = None
    """At most so many JSON values, once they were counted and its UTF-8 was checked."""

    def pieces(self) -> Iterator[bytes]:
        """Give all of it, one piece in memory at a time."""
        for start in range(0, len(self), PIECE):
            yield self[start : start + PIECE]
            self.let_pages_go(start, min(PIECE, len(self) - start))

    def digest(self) -> str:
        """Give the SHA-256 in lower-case hex; where it is not known yet, that takes half a millisecond for each MiB."""
        if self.sha256 is None:
            sha256 = hashlib.sha256()
            for piece in self.pieces():
                sha256.update(piece)
            self.sha256 = sha256.hexdigest()
        return self.sha256

    def joined(self, pieces: Iterable[bytes | memoryview]) -> SpooledBody:
        """Give another body made of these pieces. Raises Refusal(503) where there is no room for it."""
        spool = Spool(self.folder, reserve=self.reserve)
        for piece in pieces:
            spool.write(piece)
        return spool.finish()

    def let_pages_go(self, start: int = 0, length: int | None = None) -> None:
        """Count these pages no longer as the process's own; the next look at them finds them in the file again."""
        self.madvise(mmap.MADV_DONTNEED, start, len(self) - start if length is None else length)

    # As of bytes.

    def startswith(self, prefix: bytes | memoryview, start: int = 0) -> bool:
        view = memoryview(prefix)
        return start + len(view) <= len(self) and all(
            self[start + at : start + min(at + PIECE, len(view))] == bytes(view[at : at + PIECE])
            for at in range(0, len(view), PIECE)
        )

    def index(self, wanted: bytes, start: int = 0) -> int:
        found = self.find(wanted, start)
        if found < 0:
            raise ValueError("subsection not found")
        return found

    def count(self, wanted: bytes) -> int:
        windows = range(0, len(self), PIECE)
        return sum(self[start : start + PIECE + len(wanted) - 1].count(wanted) for start in windows)

    def isascii(self) -> bool:
        return all(self[start : start + PIECE].isascii() for start in range(0, len(self), PIECE))

    def __contains__(self, wanted: object) -> bool:
        return isinstance(wanted, bytes) and self.find(wanted) >= 0


def no_room(error: OSError) -> Refusal:
    return Refusal(
        503,
        "cannot_hold_body",
        f"The request body is large, and Wirekey could not put it into its state folder ({error.strerror}). Try again "
        "later; its operator makes room in the folder `tmp` there.",
        Fault.OPERATOR,
    )
