"""A request body as it arrives: hashed on the way, held once, and beyond a threshold in a private file.

The file has no name (or is removed with its handle where the system wants names), and only its owner may read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

THRESHOLD = 4 * 1024 * 1024
"""Bytes of a body that are held in memory; more goes to a file."""
PIECE = 64 * 1024


class TooLargeError(ValueError):
    """The body is larger than allowed. What was held of it is given up."""


class Intake:
    """One body. `add` its pieces, then read `view`; `close` at the end of the call, whatever became of it.

    `limit`: bytes allowed. Writing to the file blocks for as long as the page cache takes, which is memory speed
    until the disk falls behind.
    """

    def __init__(self, limit: int, *, threshold: int = THRESHOLD, folder: str | None = None) -> None:
        self.size = 0
        self._limit, self._threshold, self._folder = limit, threshold, folder
        self._hash = hashlib.sha256()
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None

    @property
    def spooled(self) -> bool:
        return self._file is not None

    @property
    def sha256(self) -> str:
        """Of all that came so far, in lower-case hexadecimal, as a signature wants it."""
        return self._hash.hexdigest()

    def add(self, data: bytes) -> None:
        """Take the next piece. Raises TooLargeError, and OSError where the file cannot be written."""
        if self._view is not None:
            raise ValueError("the body was read already: nothing can be added")
        self.size += len(data)
        if self.size > self._limit:
            self.close()
            raise TooLargeError(f"more than {self._limit} bytes")
        self._hash.update(data)
        if self._file is None and self.size > self._threshold:
            self._file = tempfile.TemporaryFile(prefix="wirekey-", dir=self._folder)  # noqa: SIM115  # until close
            self._file.writelines(self._parts)
            self._parts.clear()
        if self._file is None:
            self._parts.append(data)
        else:
            self._file.write(data)

    def view(self) -> memoryview:
        """Give the whole body without a copy of what is in the file; good until `close`."""
        if self._view is None:
            self._view = self._mapped() if self._file else memoryview(self._joined())
        return self._view

    def pieces(self) -> Iterator[bytes]:
        """Give the body in pieces, to be sent on: only one at a time is in memory twice."""
        view = self.view()
        for start in range(0, len(view), PIECE):
            yield bytes(view[start : start + PIECE])

    def close(self) -> None:
        """Give up memory and file. What `view` gave must not be read any more. May be called twice."""
        self._parts.clear()
        view, mapped, file = self._view, self._map, self._file
        self._view = self._map = self._file = None
        # Parts of the view that others still hold keep it alive until they go.
        with contextlib.suppress(BufferError):
            if view is not None:
                view.release()
            if mapped is not None:
                mapped.close()
        if file is not None:
            file.close()

    def _joined(self) -> bytes:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return body

    def _mapped(self) -> memoryview:
        assert self._file
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._map)
