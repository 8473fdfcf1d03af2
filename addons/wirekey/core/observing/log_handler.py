"""Writes log lines in a thread, so that a stopped terminal or a full disk does not block calls."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

    from wirekey.core.observing.call_lines import CallLine

MAX_LINES = 10_000
"""Lines that may wait. Further lines are lost and counted."""
LINES_AT_ONCE = 1000
GATHERING_SECONDS = 0.02
"""After a write, the next lines wait this long, to be written together."""
FLUSH_SECONDS = 2.0
"""How long the process waits at its end for a terminal or disk that does not respond."""


class Target(Protocol):
    """A file or stream that lines are written to."""

    def write(self, text: str) -> None:
        """Write whole lines. Raises OSError."""

    def close(self) -> None:
        """Close it."""


class StreamTarget:
    """Standard error. It is never closed."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        try:
            self.descriptor: int | None = stream.fileno()
        except (OSError, ValueError):
            self.descriptor = None

    def write(self, text: str) -> None:
        """Write lines. Raises OSError."""
        if self.descriptor is None:
            self.stream.write(text)
            return
        # Bypasses the stream's own buffer: if its lock is held at exit, the interpreter aborts.
        encoding = self.stream.encoding or "utf-8"
        write_all(self.descriptor, text.encode(encoding, "backslashreplace"))

    def close(self) -> None:
        """Do nothing."""


class FileTarget:
    """A file that is reopened when a new file replaces it, as logrotate does. No signal is needed."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises OSError."""
        self.path = path
        self.descriptor: int | None = None
        self.identity: tuple[int, int] | None = None
        self.open()

    def open(self) -> None:
        """Open or create the file. Raises OSError."""
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        status = os.fstat(self.descriptor)
        self.identity = (status.st_dev, status.st_ino)

    def write(self, text: str) -> None:
        """Write lines, to a new file if it was replaced. Raises OSError."""
        if self.descriptor is None or not self.in_place():
            self.close()
            self.open()
        assert self.descriptor is not None
        write_all(self.descriptor, text.encode())

    def in_place(self) -> bool:
        """Return whether the open file is still at its path."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def close(self) -> None:
        """Close the file."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all data to a descriptor. Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


class AsyncLogHandler(logging.Handler):
    """Formats records in the calling thread and writes them in its own, within `GATHERING_SECONDS`.

    The lines of calls are formatted in its own thread, too. They are the most, and need nothing of the caller's.
    """

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.waiting: collections.deque[str | CallLine] = collections.deque()
        self.format_call: Callable[[CallLine], str] = str
        self.dropped = 0
        """Lines lost because the queue was full. Counted by the callers; the next two by the writing thread."""
        self.failed = 0
        """Lines that could not be written."""
        self.reported = 0
        """The lost lines that the log itself has reported."""
        self.is_writing = False
        self.ended = False
        self.wanted = threading.Event()
        self.thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and queue its line."""
        self.add(formatted(self.format, record, record.name))

    def add(self, line: str | CallLine) -> None:
        """Queue a line, or a call whose line the thread formats. It is lost and counted if too many wait."""
        if len(self.waiting) >= MAX_LINES:
            self.dropped += 1
            return
        self.waiting.append(line)
        if self.thread is None:
            self.thread = threading.Thread(target=self.run, name="log", daemon=True)
            self.thread.start()
        if not self.wanted.is_set():
            self.wanted.set()

    def run(self) -> None:
        """Write queued lines until the handler is closed."""
        while True:
            self.wanted.wait()
            self.wanted.clear()
            self.write_waiting()
            if self.ended:
                return
            time.sleep(GATHERING_SECONDS)

    def write_waiting(self) -> None:
        """Write all queued lines, and report lost ones."""
        self.is_writing = True
        while self.waiting:
            lines = [self.waiting.popleft() for _ in range(min(len(self.waiting), LINES_AT_ONCE))]
            lost = self.lost - self.reported
            text = "".join(
                f"{line if isinstance(line, str) else formatted(self.format_call, line, 'wirekey.calls')}\n"
                for line in lines
            )
            if lost:
                text += f"{lost} lines of the log are lost here: they could not be written as fast as they came\n"
            try:
                self.target.write(text)
            except (OSError, ValueError):
                self.failed += len(lines)
            else:
                self.reported += lost
        self.is_writing = False

    @property
    def lost(self) -> int:
        """The number of lines that were lost since the start."""
        return self.dropped + self.failed

    def flush(self) -> None:
        """Wait until all lines are written, for at most `FLUSH_SECONDS`."""
        end = time.monotonic() + FLUSH_SECONDS
        while (self.waiting or self.is_writing) and time.monotonic() < end:
            self.wanted.set()
            time.sleep(0.002)

    def close(self) -> None:
        """Write the queued lines and close the target."""
        self.flush()
        self.ended = True
        self.wanted.set()
        if self.thread:
            self.thread.join(FLUSH_SECONDS if not self.is_writing else 0)
        if not self.is_writing:
            with contextlib.suppress(OSError):
                self.target.close()
        super().close()


def formatted[Record](form: Callable[[Record], str], record: Record, name: str) -> str:
    """Return the line of a record of the logger `name`. Never raises."""
    try:
        return form(record)
    except Exception as error:
        # logging would print the whole record, with data of a client or provider.
        return f"a line of {name} could not be formatted: {safe_traceback(error)}"


def async_log_handler(path: Path | None) -> AsyncLogHandler:
    """Return a handler that writes to this file, or to standard error. Raises OSError."""
    return AsyncLogHandler(FileTarget(path) if path else StreamTarget(sys.stderr))


def lost_lines() -> int:
    """Return how many lines of the log in force were lost; 0 if another program's log is in force."""
    return sum(handler.lost for handler in logging.getLogger().handlers if isinstance(handler, AsyncLogHandler))
