"""A library that makes the n-th write of a process to a folder fail, and the file that controls it."""

from __future__ import annotations

import mmap
import struct
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("failing.c")
SHORT = -1
"""Not an error: half of the bytes are written."""
_FIELDS = "countdown", "repeat", "error", "counted", "failed"


def compiled(folder: Path) -> Path:
    """Compile the library."""
    library = folder / "failing.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
    return library


class Faults:
    """Which write of a process fails. `environment` loads the library into it."""

    def __init__(self, library: Path, control: Path, watched: Path) -> None:
        self.watched = watched
        control.write_bytes(bytes(4 * len(_FIELDS)))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "WIREKEY_FAILING_CONTROL": str(control),
            "WIREKEY_FAILING_FOLDER": f"{watched.resolve()}/",
        }

    def __getattr__(self, name: str) -> int:
        return struct.unpack_from("i", self._map, 4 * _FIELDS.index(name))[0]

    def _set(self, **fields: int) -> None:
        for name, value in fields.items():
            struct.pack_into("i", self._map, 4 * _FIELDS.index(name), value)

    @contextmanager
    def failing(self, nth: int, error: int, repeat: int = 1) -> Iterator[None]:
        """Let `repeat` writes fail from the n-th one of this block on."""
        self._set(failed=0, error=error, repeat=repeat)
        self._set(countdown=nth + repeat - 1)
        try:
            yield
        finally:
            self._set(countdown=0)
