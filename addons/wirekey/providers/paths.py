"""Finds operations by method and raw path. A path in any other than its plain spelling is no operation."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.body import Body
from wirekey.operation import Kind, Operation
from wirekey.providers.request_edits import misnamed

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = tuple[str, str, str, Body, Kind]
"""Method, path, operation, body, kind. `{id}` and `{model}` in a path stand for one plain segment each."""

# A segment begins with a letter or digit, so that no dot segment is one, and holds nothing that is ever encoded,
# decoded, or split off as a parameter.
SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._:~@+=-]{0,255}"


def plain_segment(model: str) -> str:
    """Return a model's name that can be a segment of a path. Raises Refusal(403) for another."""
    if not re.fullmatch(SEGMENT, model):
        raise misnamed(model, "in the path of a request")
    return model


class PathTable:
    """The operations of a provider, looked up: fixed paths at once, others by pattern in the order given."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.fixed: dict[tuple[str, str], Operation] = {}
        self.patterns: dict[str, list[tuple[re.Pattern[str], Operation]]] = {}
        for method, path, name, body, kind in rows:
            operation = Operation(name, body, kind)
            if "{" in path:
                pattern = re.escape(path).replace(r"\{id\}", SEGMENT).replace(r"\{model\}", f"(?P<model>{SEGMENT})")
                self.patterns.setdefault(method, []).append((re.compile(pattern), operation))
            else:
                self.fixed[method, path] = operation

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        if found := self.fixed.get((method, path)):
            return found
        for pattern, operation in self.patterns.get(method, ()):
            if match := pattern.fullmatch(path):
                model = match.groupdict().get("model")
                return replace(operation, model=model) if model else operation
        return None
