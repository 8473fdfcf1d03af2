"""Whether other users of the machine may read or change the files that a configuration consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wirekey.config.loading import references
from wirekey.config.problems import Problem
from wirekey.file_modes import ENTER, READ, WRITE, mode_of, opened_to_others, replaceable_by_others

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config.models import Config

POLICY_FILES = (".rego", ".json", ".yaml", ".yml")


@dataclass(slots=True)
class FileAccess:
    """What other users may do. `refused` keeps Wirekey from starting, `warnings` do not."""

    refused: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def file_access(config: Config) -> FileAccess:
    """Look at the mode of each file of the configuration, and of the folder that it is in.

    A file that is missing or cannot be inspected has no finding. The code that reads it reports the error.
    """
    found = FileAccess()
    looked_at: set[Path] = set()
    for key, path, is_secret in files_of(config):
        try:
            look_at(found, key, path, is_secret=is_secret)
            if path.exists() and path.parent not in looked_at:
                looked_at.add(path.parent)
                look_at_folder(found, key, path.parent)
        except OSError:
            continue
    return found


def files_of(config: Config) -> Iterator[tuple[str, Path, bool]]:
    """Yield (setting, file, whether it holds a secret). The setting is empty for the configuration itself."""
    folder = config.folder
    if config.source:
        yield "", config.source.absolute(), False
    yield "", folder / ".env", True
    for key, reference in references(config):
        if reference.kind == "file":
            yield key, folder / Path(reference.name).expanduser(), True
    if tls := config.listen.gateway_tls:
        yield "listen.gateway_tls.key", tls.key, True
        yield "listen.gateway_tls.certificate", tls.certificate, False
    if config.upstream_ca_file:
        yield "upstream_ca_file", config.upstream_ca_file, False
    policies = config.deciding.path
    yield "policy.path", policies, False
    if policies.is_dir():
        for file in sorted(policies.rglob("*")):
            if file.is_dir() or file.suffix in POLICY_FILES:
                yield "policy.path", file, False


def look_at(found: FileAccess, key: str, path: Path, *, is_secret: bool) -> None:
    bits = opened_to_others(path)
    if bits & WRITE:
        fix = "chmod 600" if is_secret else "chmod go-w"
        message = f"other users may change this file (mode {mode_of(path)}). Run: {fix} {path}"
        found.refused.append(Problem(path, None, key, message))
    elif bits & READ and is_secret:
        message = f"other users may read this file (mode {mode_of(path)}), and it holds secrets. Run: chmod 600 {path}"
        found.warnings.append(Problem(path, None, key, message))
    elif bits & READ and path.is_file() and not key and is_reachable(path):
        message = f"other users may read this file (mode {mode_of(path)}). Run: chmod 600 {path}"
        found.warnings.append(Problem(path, None, key, message))


def look_at_folder(found: FileAccess, key: str, folder: Path) -> None:
    if replaceable_by_others(folder):
        message = f"other users may replace the files in this folder (mode {mode_of(folder)}). Run: chmod go-w {folder}"
        found.refused.append(Problem(folder, None, key, message))


def is_reachable(path: Path) -> bool:
    """Return whether the folders above a file let other users get to it."""
    return all(opened_to_others(folder) & ENTER for folder in path.resolve().parents)
