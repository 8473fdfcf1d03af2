"""Resolves names in rules: each refers to a local variable, a rule or an import. Pure.

Local variables are renamed to be unique, and rules are named by their whole path, so no name depends on its file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey_rego.errors import RegoProblem

if TYPE_CHECKING:
    from wirekey_rego.sourcemap import SourcePosition

type Path = tuple[str, ...]


class RefusedError(Exception):
    """A construct that this engine cannot decide as OPA does."""

    def __init__(self, place: SourcePosition, message: str) -> None:
        super().__init__(message)
        self.problem = RegoProblem(place.file, place.line, place.column, message)


@dataclass(slots=True)
class Frame:
    """The variables of one body: of a rule, a comprehension or an `every`."""

    parent: Frame | None = None
    declared: dict[str, str] = field(default_factory=dict)
    implicit: dict[str, str] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)
    """Undeclared names that only bodies within this one use so far."""
    referenced: set[str] = field(default_factory=set)
    """Names that statements so far referenced from outside this body."""
    bound: set[str] = field(default_factory=set)
    """Generated names that statements other than negated ones mention."""
    wildcard: bool = False
    """Whether the statement around this body had mentioned `_` before it."""

    def find(self, name: str) -> str | None:
        """Return the generated name of a variable of this body or one around it, or None."""
        frame: Frame | None = self
        while frame is not None:
            if found := frame.declared.get(name) or frame.implicit.get(name):
                return found
            frame = frame.parent
        return None

    def outer(self) -> set[str]:
        """Return the generated names that the bodies around this one know."""
        found: set[str] = set()
        frame = self.parent
        while frame is not None:
            found |= {*frame.declared.values(), *frame.implicit.values()}
            frame = frame.parent
        return found


@dataclass(slots=True)
class Names:
    """The names of one rule. `rules`: names of the package; `aliases`: imports of the module."""

    package: Path
    rules: set[str]
    aliases: dict[str, Path]
    frame: Frame = field(default_factory=Frame)
    mentioned: set[str] = field(default_factory=set)
    """Generated names that were mentioned since this was last emptied."""
    unused: dict[str, tuple[str, SourcePosition]] = field(default_factory=dict)
    """Variables that a `some` declares and nothing mentions so far, by their generated names."""
    open: set[str] = field(default_factory=set)
    """Generated names of variables that a `some` without `in` declares: other statements give them values."""
    _count: int = 0

    def fresh(self, name: str = "w") -> str:
        """Return a name that no other variable of the rule has."""
        self._count += 1
        return f"{name}__{self._count}"

    def declare(self, name: str, place: SourcePosition, *, by_some: bool = False) -> str:
        """Declare a variable in the current body. Return its generated name."""
        frame = self.frame
        if name == "_":
            return "_"
        if name in ("input", "data"):
            raise RefusedError(place, f"{name} cannot be a variable. Choose another name")
        if name in frame.declared:
            raise RefusedError(place, f"var {name} is declared twice in one body. Choose another name")
        if name in frame.implicit or name in frame.referenced:
            raise RefusedError(place, f"var {name} is used above its declaration. Move the declaration up")
        frame.declared[name] = generated = self.fresh(name)
        self.mentioned.add(generated)
        if by_some:
            self.unused[generated] = (name, place)
        return generated

    def local(self, name: str, place: SourcePosition) -> str:
        """Return the generated name of a variable. Declares it if no other declaration has that name."""
        if name == "_":
            self.mentioned.add("_")
            return "_"
        frame = self.frame
        found = frame.find(name)
        if found is None:
            if name in frame.inner:
                message = f"var {name} is used inside and outside a comprehension. Declare it with `some {name}`"
                raise RefusedError(place, message)
            frame.implicit[name] = found = self.fresh(name)
            above = frame.parent
            while above is not None:
                above.inner.add(name)
                above = above.parent
        elif name not in frame.declared:
            frame.referenced.add(name)
        self.mentioned.add(found)
        self.unused.pop(found, None)
        return found

    def path(self, name: str) -> Path | None:
        """Return the path below `input` or `data` that a name refers to, or None for a local variable."""
        if self.frame.find(name):
            return None
        if name in self.aliases:  # an import hides the package's own rule of that name, in its file
            self.frame.referenced.add(name)
            return self.aliases[name]
        if name in self.rules:
            self.frame.referenced.add(name)
            return (*self.package, name)
        return (name,) if name in ("input", "data") else None

    def is_declared(self, name: str) -> bool:
        """Return whether a name is a variable that an assignment, a `some`, an `every` or an argument declares."""
        frame: Frame | None = self.frame
        while frame is not None:
            if name in frame.declared:
                return True
            frame = frame.parent
        return False

    def enter(self) -> None:
        """Enter an inner body."""
        self.frame = Frame(self.frame, wildcard="_" in self.mentioned)

    def leave(self) -> None:
        """Leave the current body."""
        frame = self.frame
        assert frame.parent is not None
        # Variables of the inner body are not visible outside.
        self.mentioned -= {*frame.declared.values(), *frame.implicit.values()}
        if not frame.wildcard:
            self.mentioned.discard("_")
        self.frame = frame.parent
