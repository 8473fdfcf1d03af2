"""Refuses tools and blocks that only one provider has, by their names.

Only known names are said: any other one is a program's own content.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.features.translation.losses import Losses

_REST = re.compile(r"(_call|_call_output|_output|_tool_result|_result)?(_[0-9]{8}|(_[0-9]{4}_[0-9]{2}_[0-9]{2}))?")


@dataclass(frozen=True, slots=True)
class OwnTools:
    """The tools and blocks that only one provider has, by its name and theirs."""

    provider: str
    names: tuple[str, ...]

    def known(self, kind: str) -> str | None:
        """Return the name of a tool without its version, or None if the provider has no such tool.

        The name of a call of a tool, and of its result, is that of the tool.
        """
        for name in self.names:
            if kind.startswith(name) and _REST.fullmatch(kind, len(name)):
                return name
        return None

    def refuse(self, losses: Losses, place: str, kinds: str, kind: str, name: str = "") -> None:
        """Raise Refusal for a tool or a block of the provider, unless the operator lets it go.

        `kinds` is its path in `translation.drop`, without indices. The name of the tool follows, or its whole type.
        """
        known = self.known(kind)
        if known and f"{kinds}.{known}" in losses.allowed:
            losses.dropped.add(f"{kinds}.{known}")
            return
        provider = self.provider
        what = f"{known} is a tool or a block that only {provider} has" if known else f"only {provider} knows this type"
        losses.refuse(place, what, name or f"{kinds}.{kind}")
