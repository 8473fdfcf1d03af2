"""What a configuration was read from: its file, `.env`, the environment, and the line of each setting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wirekey.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Sources:
    """`file` is None where no configuration file exists; `watched` are all files whose change matters."""

    file: Path | None = None
    folder: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    dotenv: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Dotted setting → its line in `file`, for each that stands there."""
    from_environ: Mapping[str, str] = field(default_factory=dict)
    """Dotted setting → the environment variable that it was taken from, as the file does not set it."""
    watched: tuple[Path, ...] = ()

    def line(self, key: str) -> int | None:
        """Give the line of a setting, or of the nearest above it that stands in the file."""
        while key:
            if key in self.lines:
                return self.lines[key]
            key = re.sub(r"(?:\.[^.\[]*|\[\d*\]|^[^.\[]*)$", "", key)
        return None

    def problem(self, key: str, message: str) -> Problem:
        return Problem(self.file, self.line(key), key, message)

    def origin(self, key: str) -> str:
        """Tell where a value comes from: `file:LINE`, `env NAME` or `default`."""
        if key in self.from_environ:
            return f"env {self.from_environ[key]}"
        return f"file:{self.lines[key]}" if key in self.lines else "default"

    def fingerprint(self) -> str:
        return " ".join(map(stamp, self.watched))


def stamp(path: Path) -> str:
    """Tell one state of a file from another without reading it."""
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def watched_files(file: Path, folder: Path, secret_files: Iterable[str]) -> tuple[Path, ...]:
    return (file, folder / ".env", *sorted({folder / Path(name).expanduser() for name in secret_files}))
