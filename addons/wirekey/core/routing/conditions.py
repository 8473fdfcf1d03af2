"""Conditions of a route beside the requested model: who calls, and what. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from wirekey.providers.formats import FORMAT_OF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.call import Agent
    from wirekey.core.operation import Operation


@dataclass(frozen=True, slots=True)
class Conditions:
    """Patterns of which one of each kind must match; () where anything does."""

    formats: Sequence[str] = ()
    operations: Sequence[str] = ()
    providers: Sequence[str] = ()
    agents: Sequence[str] = ()
    roles: Sequence[str] = ()

    def hold(self, operation: Operation, provider: str, agent: Agent | None) -> bool:
        """Return whether a call meets all conditions. `provider`: the one whose API the program calls."""
        return (
            _matches(self.formats, FORMAT_OF.get(operation.name))
            and _matches(self.operations, operation.name)
            and _matches(self.providers, provider)
            and _matches(self.agents, agent.id if agent else None)
            and _matches(self.roles, agent.role if agent else None)
        )


def _matches(patterns: Sequence[str], value: str | None) -> bool:
    return not patterns or (value is not None and any(fnmatchcase(value, pattern) for pattern in patterns))
