"""The program that is made of the modules of a policy, with its definitions and what was refused of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey_rego.errors import RegoProblem
from wirekey_rego.sourcemap import SourceMap, SourcePosition

if TYPE_CHECKING:
    from wirekey_rego.names import Path
    from wirekey_rego.syntax import Node


@dataclass(slots=True)
class Definition:
    """One rule as written. `kind`: value, set, object or function. `default`: whether it is a default."""

    module: Node
    path: Path
    kind: str
    arity: int
    node: Node
    default: bool
    place: SourcePosition


@dataclass(slots=True)
class GeneratedProgram:
    """The input of the engine: sources by name, and their origin."""

    sources: dict[str, str] = field(default_factory=dict)
    positions: SourceMap = field(default_factory=SourceMap)
    problems: list[RegoProblem] = field(default_factory=list)
    definitions: dict[Path, list[Definition]] = field(default_factory=lambda: defaultdict(list))
    packages: set[Path] = field(default_factory=set)
    constants: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Rules that are sets of constant strings, as data: by path, the strings as an object's names."""
    edges: dict[Path, set[Path]] = field(default_factory=lambda: defaultdict(set))
    """The rules that each rule refers to."""
    entry_points: list[Path] = field(default_factory=list)
    """The rules whose values are of interest."""

    def entry_rules(self) -> dict[str, list[Definition]]:
        """Return the definitions of the rules whose values are of interest, by name."""
        return {path[-1]: self.definitions[path] for path in self.entry_points if path in self.definitions}

    def refuse(self, place: SourcePosition, message: str) -> None:
        """Add a problem at a position."""
        self.problems.append(RegoProblem(place.file, place.line, place.column, message))
