"""The sources of a configuration: its file, `.env`, the environment, and the line of each setting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wirekey.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class ConfigSources:
    """The sources of a configuration.

    `file` is None if there is no configuration file. `watched` are all files whose changes matter.
    """

    file: Path | None = None
    folder: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    dotenv: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Dotted setting → its line in `file`, for each setting in the file."""
    from_environ: Mapping[str, str] = field(default_factory=dict)
    """Dotted setting → environment variable, for settings that come from the environment and not from the file."""
    watched: tuple[Path, ...] = ()

    def line(self, key: str) -> int | None:
        """Return the line of a setting, or of the nearest group around it that is in the file."""
        while key:
            if key in self.lines:
                return self.lines[key]
            key = re.sub(r"(?:\.[^.\[]*|\[[^.\[]*|^[^.\[]*)\Z", "", key)
        return None

    def problem(self, key: str, message: str) -> Problem:
        """Return a problem of a setting, with its file and line."""
        if variable := self.from_environ.get(key):
            return Problem(None, None, f"{key} (from {variable})", message)
        return Problem(self.file, self.line(key), key, message)

    def origin(self, key: str) -> str:
        """Return the origin of a value: `file:LINE`, `env NAME` or `default`."""
        if key in self.from_environ:
            return f"env {self.from_environ[key]}"
        return f"file:{self.lines[key]}" if key in self.lines else "default"

    def fingerprint(self) -> str:
        """Return a text that differs after one of the watched files has changed, appeared or disappeared."""
        return " ".join(map(file_version, self.watched))


def file_version(path: Path) -> str:
    """Return a text that differs between versions of a file. The file is not read."""
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def watched_files(file: Path, folder: Path, secret_files: Iterable[str]) -> tuple[Path, ...]:
    """Return all files whose changes matter: the configuration, `.env` in `folder`, and files with secrets."""
    return (file, folder / ".env", *sorted({folder / Path(name).expanduser() for name in secret_files}))
