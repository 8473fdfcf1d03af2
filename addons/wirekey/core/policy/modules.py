"""The files of a policy folder: Rego modules and data, and a revision that is a hash of their content.

The layout is that of `opa test` and `opa build`: modules in `*.rego`, data in `data.json`, `data.yaml` or `data.yml`,
which is found in the document under the path of its folder. `*_test.rego` has tests, which take no part in decisions.
Hidden files are ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA_NAMES = ("data.json", "data.yaml", "data.yml")
TEST_ENDING = "_test.rego"
LARGEST_FOLDER = 16 * 1024 * 1024
REVISION_DIGITS = 16

type FolderState = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """One problem of a policy: what is wrong, where, and what to do. `line` and `column` count from 1."""

    file: str
    line: int | None
    column: int | None
    message: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.message}"


class PolicyError(UserError):
    """The policy cannot be used. `problems` has at least one entry."""

    def __init__(self, problems: list[PolicyProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems

    def report(self) -> str:
        """Return one line for each problem."""
        return "\n".join(map(str, self.problems))


@dataclass(frozen=True, slots=True)
class Modules:
    """A policy's files. `rego` and `tests`: name → source, sorted. `data`: one JSON document.

    `tests` take no part in decisions, nor in the revision.
    """

    rego: dict[str, str]
    data: dict[str, Any]
    revision: str
    tests: dict[str, str] = field(default_factory=dict)


def read_modules(path: Path) -> Modules:
    """Read a folder, or one module. Raises PolicyError."""
    rego: dict[str, str] = {}
    tests: dict[str, str] = {}
    data: dict[str, Any] = {}
    problems: list[PolicyProblem] = []
    digest = hashlib.sha256()
    size = 0
    for file in files_of(path):
        name = file.relative_to(path).as_posix() if file != path else file.name
        try:
            content = file.read_bytes()
            text = content.decode("utf-8")
        except OSError as error:
            problems.append(PolicyProblem(name, None, None, f"cannot be read: {error.strerror}"))
            continue
        except UnicodeDecodeError:
            problems.append(PolicyProblem(name, None, None, "is not UTF-8. Save it as UTF-8"))
            continue
        size += len(content)
        if name.endswith(TEST_ENDING):
            tests[name] = text
            continue
        digest.update(f"{len(name.encode())}:{name}:{len(content)}:".encode() + content)
        if name.endswith(".rego"):
            rego[name] = text
            continue
        try:
            graft(data, Path(name).parent.parts, parse_data(name, text))
        except ValueError as error:
            problems.append(PolicyProblem(name, getattr(error, "line", None), None, str(error)))
    if size > LARGEST_FOLDER:
        problems.append(PolicyProblem(str(path), None, None, "is larger than 16 MiB. Move other files elsewhere"))
    elif not rego and not problems:
        problems.append(PolicyProblem(str(path), None, None, "has no *.rego file. Check the path"))
    if problems:
        raise PolicyError(problems)
    return Modules(rego, data, digest.hexdigest()[:REVISION_DIGITS], tests)


def files_of(path: Path) -> list[Path]:
    """Return the files of the policy, sorted. Raises PolicyError if the path cannot be read."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise PolicyError([PolicyProblem(str(path), None, None, "does not exist. Check the path")])
    return sorted(walked(path))


def walked(folder: Path) -> Iterator[Path]:
    """Yield the modules and data files below a folder, without hidden ones."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and (name.endswith(".rego") or name in DATA_NAMES):
                yield Path(parent, name)


def folder_state(path: Path) -> FolderState:
    """Return a value that changes with any file of the policy. Takes one `stat` a file. Raises PolicyError."""
    found = []
    for file in files_of(path):
        try:
            status = file.stat()
        except OSError:
            continue
        found.append((str(file), status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def parse_data(name: str, text: str) -> Any:
    """Parse JSON or YAML. Raises ValueError with a sentence; YAML errors have an attribute `line`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = json.loads(text) if name.endswith(".json") else YAML(typ="safe", pure=True).load(text)
        # A policy cannot see what YAML has and JSON does not: dates, numbers as keys.
        json.dumps(document, allow_nan=False)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = ValueError(f"is not valid YAML: {getattr(error, 'problem', None) or 'it cannot be parsed'}")
        problem.line = mark.line + 1 if mark else None  # type: ignore[attr-defined]  # for the problem's place
        raise problem from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"is not a JSON document: {error}") from None
    return document


def graft(tree: dict[str, Any], place: tuple[str, ...], document: Any) -> None:
    """Add a document to the tree at a path. Raises ValueError if both set a value."""
    for part in reversed(place):
        document = {part: document}
    if not isinstance(document, dict):
        raise ValueError("must be an object at the top of the folder")  # noqa: TRY004  # of a file's content
    merge(tree, document, "data")


def merge(tree: dict[str, Any], more: dict[str, Any], place: str) -> None:
    """Add the members of an object to a second object. Raises ValueError if both set a value."""
    for key, value in more.items():
        if not isinstance(key, str):
            raise ValueError(f"{place} has the key {key!r}, which is not a string. Put it in quotes")  # noqa: TRY004  # see graft
        if key not in tree:
            tree[key] = value
        elif isinstance(tree[key], dict) and isinstance(value, dict):
            merge(tree[key], value, f"{place}.{key}")
        else:
            raise ValueError(f"{place}.{key} is also set by another data file. Keep one of them")
