"""One replaced name of another library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Override:
    """A name of a module or class, and its replacement."""

    owner: object
    name: str
    replacement: object

    def apply(self) -> None:
        """Replace it, for the whole process."""
        setattr(self.owner, self.name, self.replacement)

    def __str__(self) -> str:
        """Return the whole name, as docs/architecture.md has it."""
        owner = self.owner
        place = f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else vars(owner)["__name__"]
        return f"{place}.{self.name}"
