"""Compare installed files with the RECORD of their wheel, and installed packages with a bill of materials.

RECORD: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import marshal
import sys
import zipfile
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = "wirekey"
PACKAGES = ("wirekey", "wirekey_rego", "wirekey_simulator")
BILL = ".dist-info/sboms/wirekey.cdx.json"
_PYC_HEAD = 16
"""Bytes before the code in a .pyc file: magic number, flags, time and size of the source (PEP 552)."""
_BY_INSTALLER = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")
"""Files beside the metadata that an installer writes. The first three are of every installer, the last of PEP 610."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison."""

    files: int
    """How many files were compared by their hash."""
    packages: int = 0
    """How many installed packages were compared with the bill of materials."""
    problems: tuple[str, ...] = field(default=())
    """A sentence for each difference."""


class NotInstalledError(Exception):
    """Wirekey does not run from an installed wheel, so there is nothing to compare with."""


def installed_distribution(package: Path) -> Distribution:
    """Return the distribution whose files include the folder of the running package.

    Raises `NotInstalledError` in a checkout, or if the installed Wirekey is not the one that runs.
    """
    try:
        found = distribution(NAME)
    except PackageNotFoundError:
        raise NotInstalledError(f"{package} is not an installed wheel") from None
    if Path(str(found.locate_file(package.name))).resolve() != package.resolve():
        raise NotInstalledError(f"{package} runs, but the installed wheel is in {found.locate_file('')}")
    return found


def compared(found: Distribution, wheel: Path | None = None) -> Comparison:
    """Compare an installation with its RECORD, or with that of a wheel, and its packages with the bill of materials.

    Raises OSError or ValueError if the wheel cannot be read.
    """
    record = dict(recorded(wheel_record(wheel) if wheel else found.read_text("RECORD") or ""))
    if not record:
        return Comparison(0, problems=("The installation has no RECORD.",))
    root = Path(str(found.locate_file("")))
    changed = [problem for name, digest in record.items() if (problem := changed_file(root / name, name, digest))]
    bill = next((name for name in record if name.endswith(BILL)), None)
    if bill is None or not (root / bill).is_file():
        return Comparison(len(record), 0, (*changed, *added_files(root, record), "There is no bill of materials."))
    packages, differing = differing_packages((root / bill).read_text())
    return Comparison(len(record), packages, (*changed, *added_files(root, record), *differing))


def wheel_record(wheel: Path) -> str:
    """Return the RECORD of a wheel. Raises ValueError if the file is not a wheel of Wirekey."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
            if len(names) != 1 or not names[0].startswith(f"{NAME}-"):
                raise ValueError(f"{wheel} is not a wheel of Wirekey")
            return archive.read(names[0]).decode()
    except zipfile.BadZipFile:
        raise ValueError(f"{wheel} is not a wheel") from None


def recorded(record: str) -> Iterator[tuple[str, str]]:
    """Yield name and SHA-256 (base64 without padding) of each file of a RECORD that has a hash and stays in place."""
    for row in csv.reader(record.splitlines()):
        name, digest, *_ = (*row, "", "")
        if digest.startswith("sha256=") and not name.startswith("..") and Path(name).name not in _BY_INSTALLER:
            yield name, digest.removeprefix("sha256=")


def changed_file(path: Path, name: str, digest: str) -> str | None:
    """Return how a file differs from its hash, or None."""
    try:
        found = hashlib.sha256(path.read_bytes()).digest()
    except FileNotFoundError:
        return f"{name} is missing."
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}."
    return None if base64.urlsafe_b64encode(found).rstrip(b"=").decode() == digest else f"{name} was changed."


def added_files(root: Path, record: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each file in the packages that the wheel does not have, and each cache of other code."""
    known = set(record)
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_dir() or name in known:
                continue
            if path.parent.name != "__pycache__" or path.suffix != ".pyc":
                yield f"{name} was added."
            elif not is_compiled_source(path):
                yield f"{name} is not the compiled form of its source."


def is_compiled_source(path: Path) -> bool:
    """Return whether a file of `__pycache__` holds the code of its source, or code that this Python would not run.

    Python compares it with the source only by the time and size in its head. So a hash of the source alone does not say
    which code runs.
    """
    name, tag, *optimized = path.name.removesuffix(".pyc").split(".")
    if tag != sys.implementation.cache_tag:
        return True
    source = path.parent.parent / f"{name}.py"
    level = int(optimized[0].removeprefix("opt-")) if optimized else 0
    try:
        code = compile(source.read_bytes(), str(source), "exec", dont_inherit=True, optimize=level)
        found = marshal.loads(path.read_bytes()[_PYC_HEAD:])  # noqa: S302 -- Python loads the same file to run it
    except (OSError, ValueError, EOFError, TypeError, SyntaxError):
        return False
    return bool(found == code)


def differing_packages(bill: str) -> tuple[int, list[str]]:
    """Return how many packages of a bill of materials are installed, and a sentence for each of another version.

    `bill` is CycloneDX JSON. Packages that are not installed belong to extras. Raises ValueError if it is not JSON.
    """
    expected: dict[str, list[str]] = {}
    for component in json.loads(bill)["components"]:
        expected.setdefault(component["name"], []).append(component["version"])  # some depend on the version of Python
    installed = {name: found for name in expected if (found := installed_version(name))}
    return len(installed), [
        f"{name} is {found}; the release was tested with {' or '.join(expected[name])}."
        for name, found in installed.items()
        if found not in expected[name]
    ]


def installed_version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
