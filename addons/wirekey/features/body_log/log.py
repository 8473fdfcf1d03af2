"""The log of requests and responses with their bodies: JSON lines in a file of its own, with credentials masked.

It is off unless `log.bodies` names a file. Lines are made and written in a thread. The event loop only hands over bytes
that it has anyway.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import logging
import os
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.audit.event import rfc3339
from wirekey.core.credentials.agent_tokens import RECORDED, without_tokens
from wirekey.core.credentials.scrub import encoded_end, encoded_spans, masked, with_other_forms
from wirekey.core.tracebacks import safe_traceback
from wirekey.providers.credential_headers import is_credential_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

LONGEST_BODY = 1024 * 1024
"""Bytes of one body that are logged. Of a longer one the beginning is."""
MAX_WAITING = 64 * 1024 * 1024
"""Bytes of bodies that may wait for the thread. Beyond them, entries are left out and counted."""
ROTATE_AT = 100 * 1024 * 1024
"""Bytes of a file. A larger one becomes FILE.1, and so on."""
KEPT_FILES = 5
FLUSH_SECONDS = 5.0

REMOVED = "(removed)"
CAPABILITIES = frozenset({"set-cookie", "location", "x-goog-upload-url", "x-goog-upload-control-url"})
"""Response headers that hold a credential."""
UPLOAD_ID = re.compile(rb"(?i)(upload_id(?:=|%3D|\\u003d))[^&\s\"',;]+")

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class BodyEntry:
    """One line: the request or the response of a call. `content` returns the body; None if it passes unread."""

    kind: str
    """request or response."""
    call: str
    facts: dict[str, object]
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    content: Callable[[], bytes] | None = field(repr=False)
    size: int
    secrets: tuple[bytes, ...] = field(repr=False)
    """Secrets that are masked, in addition to agent tokens."""
    moment: float = field(default_factory=time.time)


def line_of(entry: BodyEntry) -> bytes:
    """Return the line of an entry, with the newline."""
    forms = with_other_forms(entry.secrets)

    def clean(data: bytes) -> bytes:
        return UPLOAD_ID.sub(rb"\1(removed)", without_tokens(masked(data, encoded_spans(data, forms)), RECORDED))

    document: dict[str, object] = {"time": rfc3339(entry.moment), "kind": entry.kind, "call": entry.call}
    document |= {
        name: clean(value.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
        if isinstance(value, str)
        else value
        for name, value in entry.facts.items()
    }
    document["headers"] = [
        [clean(name).decode("latin-1"), header_text(name, value, clean)] for name, value in entry.headers
    ]
    if entry.content is not None:
        body = entry.content()
        if len(body) > LONGEST_BODY or len(body) < entry.size:
            body = body[:LONGEST_BODY]
            body = body[: encoded_end(body, forms)]  # not the beginning of a key
            document["truncated"] = True
        body = clean(body)
        try:
            document["body"] = body.decode()
        except UnicodeDecodeError:
            document["body_base64"] = base64.b64encode(body).decode()
        document["size"] = entry.size
    return encode(document) + b"\n"


def header_text(name: bytes, value: bytes, clean: Callable[[bytes], bytes]) -> str:
    """Return the value of a header for the log."""
    lower = name.decode("latin-1").lower()
    if lower in CAPABILITIES or is_credential_header(lower):
        return REMOVED
    return clean(value).decode("latin-1")


class RotatingFile:
    """A file that only its owner may read. When it is large, it is renamed and a new one is begun."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises OSError."""
        self.path = path
        self.open()

    def open(self) -> None:
        """Open or create the file, with mode 0600, without following a symbolic link. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self.descriptor = os.open(self.path, flags, 0o600)
        os.fchmod(self.descriptor, 0o600)
        self.size = os.fstat(self.descriptor).st_size

    def write(self, data: bytes) -> None:
        """Write whole lines. Raises OSError."""
        if self.size and self.size + len(data) > ROTATE_AT:
            self.rotate()
        left = memoryview(data)
        while left:
            left = left[os.write(self.descriptor, left) :]
        self.size += len(data)

    def rotate(self) -> None:
        """Rename the files, remove the oldest, and begin a new one. Raises OSError."""
        os.close(self.descriptor)
        for number in range(KEPT_FILES - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self.numbered(number).replace(self.numbered(number + 1))
        self.path.replace(self.numbered(1))
        self.open()

    def numbered(self, number: int) -> Path:
        """Return the path of an earlier file."""
        return self.path.with_name(f"{self.path.name}.{number}")

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


class BodyLog:
    """Writes entries in a thread. Entries that the disk cannot take in time are left out and counted."""

    def __init__(self, path: Path) -> None:
        """Open the file and start the thread. Raises OSError."""
        self.file = RotatingFile(path)
        self.lost = 0
        self.waiting = 0
        """Bytes of bodies that wait."""
        self._entries: collections.deque[BodyEntry | None] = collections.deque()
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="body-log", daemon=True)
        self._thread.start()

    def write(self, entry: BodyEntry) -> None:
        """Hand over an entry. Never waits for the disk."""
        held = min(entry.size, LONGEST_BODY)
        with self._ready:
            if self.waiting + held > MAX_WAITING:
                self.lost += 1
                return
            self.waiting += held
            self._entries.append(entry)
            self._ready.notify()

    def close(self) -> None:
        """Write what waits, and close the file."""
        with self._ready:
            self._entries.append(None)
            self._ready.notify()
        self._thread.join(FLUSH_SECONDS)
        if self.lost:
            logger.warning("log.bodies: %d entries were left out, as the disk was too slow", self.lost)

    def _run(self) -> None:
        failed = False
        while True:
            with self._ready:
                while not self._entries:
                    self._ready.wait()
                entry = self._entries.popleft()
            if entry is None:
                self.file.close()
                return
            try:
                self.file.write(line_of(entry))
                failed = False
            except Exception as error:
                self.lost += 1
                if not failed:
                    logger.error("log.bodies: an entry cannot be written: %s", safe_traceback(error))  # noqa: TRY400  # without the message
                failed = True
            with self._ready:
                self.waiting -= min(entry.size, LONGEST_BODY)
