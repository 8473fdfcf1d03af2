"""Tokens and costs of one day, model and key, and how they are added up. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.audit.sums import known_sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SNAPSHOT = re.compile(r"[-@](?:20\d\d-?\d\d-?\d\d|latest|\d{3})(?:-v\d+)?(?::\d+)?\Z|-v\d+(?::\d+)?\Z")
"""The end of a model's name that says which snapshot it is: `-2024-07-18`, `@20250929`, `-001`, `-20250929-v1:0`."""
PLACE = re.compile(r"\A(?:(?:us|eu|apac|jp|au|global)\.)?[a-z0-9]+\.(?=[a-z])")
"""The beginning of a model's name at Bedrock: `us.anthropic.`."""


@dataclass(frozen=True, slots=True)
class Group:
    """The day, model and key of some usage.

    `day`: UTC, `2026-01-31`. `model`, `key`: empty if the report does not name them.
    """

    day: str
    model: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class UsedTokens:
    """Tokens and cost. None: the report does not say. `uncounted`: calls that were sent, with unknown tokens."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    requests: int | None = None
    uncounted: int = 0

    def __add__(self, other: UsedTokens) -> UsedTokens:
        return UsedTokens(
            known_sum(self.input_tokens, other.input_tokens),
            known_sum(self.output_tokens, other.output_tokens),
            known_sum(self.cost_usd, other.cost_usd),
            known_sum(self.requests, other.requests),
            self.uncounted + other.uncounted,
        )


type Used = tuple[Group, UsedTokens]


def base_name(model: str) -> str:
    """Return the name of a model without its snapshot and place, as providers report one and programs send another."""
    return SNAPSHOT.sub("", PLACE.sub("", model.lower().rpartition("/")[2]))


def summed(entries: Iterable[Used], group: Callable[[Group], Group]) -> dict[Group, UsedTokens]:
    """Return the sums by `group` of each entry's group."""
    found: dict[Group, UsedTokens] = {}
    for of, usage in entries:
        place = group(of)
        found[place] = found.get(place, UsedTokens()) + usage
    return found
