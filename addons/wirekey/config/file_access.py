"""Checks whether other users of the machine can read or change the files of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wirekey.config.loading import references
from wirekey.config.problems import Problem
from wirekey.core.file_modes import ENTER, READ, WRITE, mode_of, opened_to_others, replaceable_by_others

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config.models import Config

POLICY_FILES = (".rego", ".json", ".yaml", ".yml")


@dataclass(slots=True)
class FileAccess:
    """The access of other users to the files. Wirekey does not start with entries in `refused`."""

    refused: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def file_access(config: Config) -> FileAccess:
    """Check the mode of each file of the configuration, and of its folder.

    A file that is missing or cannot be inspected has no finding. The code that reads it reports the error.
    """
    found = FileAccess()
    looked_at: set[Path] = set()
    for key, path, is_secret in configuration_files(config):
        try:
            check_file(found, key, path, is_secret=is_secret)
            if path.exists() and path.parent not in looked_at:
                looked_at.add(path.parent)
                check_folder(found, key, path.parent)
        except OSError:
            continue
    return found


def configuration_files(config: Config) -> Iterator[tuple[str, Path, bool]]:
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
    if ca := config.certs.key_file:
        yield "certs.key", ca, True
    if config.upstream_ca_file:
        yield "upstream_ca_file", config.upstream_ca_file, False
    policies = config.effective_policy.path
    yield "policy.path", policies, False
    if policies.is_dir():
        for file in sorted(policies.rglob("*")):
            if file.is_dir() or file.suffix in POLICY_FILES:
                yield "policy.path", file, False


def check_file(found: FileAccess, key: str, path: Path, *, is_secret: bool) -> None:
    """Add the problems of one file to `found`. `is_secret`: the file contains secrets."""
    bits = opened_to_others(path)
    if bits & WRITE:
        fix = "chmod 600" if is_secret else "chmod go-w"
        message = f"other users can change this file (mode {mode_of(path)}). Run: {fix} {path}"
        found.refused.append(Problem(path, None, key, message))
    elif bits & READ and is_secret:
        message = (
            f"other users can read this file (mode {mode_of(path)}), which contains secrets. Run: chmod 600 {path}"
        )
        found.warnings.append(Problem(path, None, key, message))
    elif bits & READ and path.is_file() and not key and is_reachable(path):
        message = f"other users can read this file (mode {mode_of(path)}). Run: chmod 600 {path}"
        found.warnings.append(Problem(path, None, key, message))


def check_folder(found: FileAccess, key: str, folder: Path) -> None:
    """Add a problem to `found` if other users can replace files in the folder."""
    if replaceable_by_others(folder):
        message = f"other users can replace the files in this folder (mode {mode_of(folder)}). Run: chmod go-w {folder}"
        found.refused.append(Problem(folder, None, key, message))


def is_reachable(path: Path) -> bool:
    """Return whether the folders above a file let other users get to it."""
    return all(opened_to_others(folder) & ENTER for folder in path.resolve().parents)
