"""Finds operations by method and raw path. A path in any other than its plain spelling is no operation.

The operations of each provider are in `operations.txt` beside its package. A path that is not among them, but plainly
written, is the operation `other`: its body is not read, and only a policy that allows it by name lets it pass.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.operation import Kind, Operation
from wirekey.providers.request_edits import misnamed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Row = tuple[str, str, str, Body, Kind]
"""Method, path, operation, body, kind. `{id}` and `{model}` in a path stand for one plain segment each."""

# A segment begins with a letter or digit, so that no dot segment is one, and holds nothing that is ever encoded,
# decoded, or split off as a parameter.
SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._:~@+=-]{0,255}"

OTHER = "other"
_BODIES = {
    "none": Body.NONE,
    "json": Body.JSON,
    "form": Body.MULTIPART,
    "opaque": Body.OPAQUE,
    "events": Body.EVENTS,
    "websocket": Body.WEBSOCKET,
    "message": Body.MESSAGE,
}
_PLAIN_PATH = re.compile(rf"(?:/{SEGMENT})+")
_OTHER_METHODS = {
    "GET": Body.NONE,
    "DELETE": Body.NONE,
    "POST": Body.OPAQUE,
    "PUT": Body.OPAQUE,
    "PATCH": Body.OPAQUE,
}


def plain_segment(model: str) -> str:
    """Return a model's name that can be a segment of a path. Raises Refusal(403) for another."""
    if not re.fullmatch(SEGMENT, model):
        raise misnamed(model, "in the path of a request")
    return model


def read_rows(module: str) -> Iterator[Row]:
    """Yield the rows of the `operations.txt` beside a module's file. A line that begins with # is a comment."""
    text = Path(module).with_name("operations.txt").read_text("utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            method, path, name, body, kind = line.split()
            yield method, path, name, _BODIES[body], Kind(kind)


class PathTable:
    """The operations of a provider, looked up: fixed paths at once, others by pattern in the order given.

    `segments`: the pattern of what `{NAME}` stands for in a path, by NAME.
    """

    def __init__(self, rows: Iterable[Row], segments: dict[str, str] | None = None) -> None:
        self.fixed: dict[tuple[str, str], Operation] = {}
        self.patterns: dict[tuple[str, int], list[tuple[str, Operation]]] = {}
        """By method and number of segments, so that few patterns are tried."""
        self.compiled: dict[tuple[str, int], list[tuple[re.Pattern[str], Operation]]] = {}
        """Those that were tried. To compile all of them would take a tenth of the start of a command."""
        self.segments = {"id": SEGMENT, "model": SEGMENT} | (segments or {})
        for method, path, name, body, kind in rows:
            operation = Operation(name, body, kind)
            if "{" in path:
                place = method, path.count("/")
                self.patterns.setdefault(place, []).append((self._pattern(path), operation))
            else:
                self.fixed[method, path] = operation

    def _pattern(self, path: str) -> str:
        pattern = re.escape(path)
        for name, segment in self.segments.items():
            group = f"(?P<model>{segment})" if name == "model" else f"(?:{segment})"
            pattern = pattern.replace(rf"\{{{name}\}}", group)
        return pattern

    def __iter__(self) -> Iterator[Operation]:
        """Yield all operations."""
        yield from self.fixed.values()
        for found in self.patterns.values():
            yield from (operation for _, operation in found)

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        if found := self.fixed.get((method, path)):
            return found
        for pattern, operation in self._patterns_of(method, path.count("/")):
            if match := pattern.fullmatch(path):
                model = match.groupdict().get("model")
                return replace(operation, model=model) if model else operation
        return None

    def _patterns_of(self, method: str, segments: int) -> list[tuple[re.Pattern[str], Operation]]:
        place = method, segments
        compiled = self.compiled.get(place)
        if compiled is None:
            compiled = [(re.compile(pattern), operation) for pattern, operation in self.patterns.get(place, ())]
            if compiled:
                self.compiled[place] = compiled
        return compiled

    def find_other(self, method: str, path: str) -> Operation | None:
        """Return the operation `other` for a plain path that is not in the table.

        None for a path that a lenient server could take for one of the table, as it differs only in case.
        """
        body = _OTHER_METHODS.get(method)
        if body is None or not _PLAIN_PATH.fullmatch(path) or self._is_misspelled(path):
            return None
        return Operation(OTHER, body, Kind.OTHER)

    @cached_property
    def _spellings(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        """Every path of the table, as it is written, and in any case."""
        patterns = {pattern.replace("?P<model>", "?:") for rows in self.patterns.values() for pattern, _ in rows}
        every = "|".join(sorted(patterns | {re.escape(path) for _, path in self.fixed}))
        return re.compile(every), re.compile(every, re.IGNORECASE)

    def _is_misspelled(self, path: str) -> bool:
        exact, any_case = self._spellings
        return any_case.fullmatch(path) is not None and exact.fullmatch(path) is None
