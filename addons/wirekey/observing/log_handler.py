"""Where the lines of the log go: a thread writes them, so that a halted terminal or a full disk halts no call."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

MOST_LINES = 10_000
"""Lines that wait at most; what comes on top is lost, and counted."""
LINES_AT_ONCE = 1000
GATHERING_SECONDS = 0.02
"""After a line was written at once, the next ones wait so long, to be written together."""
FLUSH_SECONDS = 2.0
"""How long the end of the process waits for a terminal or disk that takes nothing."""


class Target(Protocol):
    def write(self, text: str) -> None:
        """Write whole lines. Raises OSError."""

    def close(self) -> None: ...


class StreamTarget:
    """Standard error, which is not ours to close."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        try:
            self.descriptor: int | None = stream.fileno()
        except (OSError, ValueError):
            self.descriptor = None

    def write(self, text: str) -> None:
        if self.descriptor is None:
            self.stream.write(text)
            return
        # Past the stream's own buffer, whose lock would make the interpreter abort at its end while this waits.
        encoding = self.stream.encoding or "utf-8"
        write_all(self.descriptor, text.encode(encoding, "backslashreplace"))

    def close(self) -> None:
        pass


class FileTarget:
    """A file that is opened anew once another stands in its place, as logrotate does: no signal is needed."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises OSError."""
        self.path = path
        self.descriptor: int | None = None
        self.identity: tuple[int, int] | None = None
        self.open()

    def open(self) -> None:
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        status = os.fstat(self.descriptor)
        self.identity = (status.st_dev, status.st_ino)

    def write(self, text: str) -> None:
        if self.descriptor is None or not self.in_place():
            self.close()
            self.open()
        assert self.descriptor is not None
        write_all(self.descriptor, text.encode())

    def in_place(self) -> bool:
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


class AsyncLogHandler(logging.Handler):
    """Formats where it is called, and writes on its own thread, within `GATHERING_SECONDS`."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.waiting: collections.deque[str] = collections.deque()
        self.dropped = 0
        """Lines for which there was no room. Counted where lines are made; the next two, where they are written."""
        self.failed = 0
        """Lines that the target did not take."""
        self.reported = 0
        """Of both, those whose loss the log itself says."""
        self.is_writing = False
        self.ended = False
        self.wanted = threading.Event()
        self.thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:
            # logging would print the record whole, with what a client or provider sent.
            line = f"a line of {record.name} could not be formatted: {safe_traceback(error)}"
        if len(self.waiting) >= MOST_LINES:
            self.dropped += 1
            return
        self.waiting.append(line)
        if self.thread is None:
            self.thread = threading.Thread(target=self.run, name="log", daemon=True)
            self.thread.start()
        if not self.wanted.is_set():
            self.wanted.set()

    def run(self) -> None:
        while True:
            self.wanted.wait()
            self.wanted.clear()
            self.write_waiting()
            if self.ended:
                return
            time.sleep(GATHERING_SECONDS)

    def write_waiting(self) -> None:
        self.is_writing = True
        while self.waiting:
            lines = [self.waiting.popleft() for _ in range(min(len(self.waiting), LINES_AT_ONCE))]
            lost = self.dropped + self.failed - self.reported
            text = "".join(f"{line}\n" for line in lines)
            if lost:
                text += f"{lost} lines of the log are lost here: they could not be written as fast as they came\n"
            try:
                self.target.write(text)
            except (OSError, ValueError):
                self.failed += len(lines)
            else:
                self.reported += lost
        self.is_writing = False

    def flush(self) -> None:
        """Wait until all is written, but not for ever."""
        end = time.monotonic() + FLUSH_SECONDS
        while (self.waiting or self.is_writing) and time.monotonic() < end:
            self.wanted.set()
            time.sleep(0.002)

    def close(self) -> None:
        self.flush()
        self.ended = True
        self.wanted.set()
        if self.thread:
            self.thread.join(FLUSH_SECONDS if not self.is_writing else 0)
        if not self.is_writing:
            with contextlib.suppress(OSError):
                self.target.close()
        super().close()


def async_log_handler(path: Path | None) -> AsyncLogHandler:
    """Give what writes to this file, or to standard error. Raises OSError."""
    return AsyncLogHandler(FileTarget(path) if path else StreamTarget(sys.stderr))
