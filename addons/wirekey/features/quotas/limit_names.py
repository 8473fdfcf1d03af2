"""The names of the limits of quotas, and what each of them limits. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from wirekey.features.quotas.periods import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.features.quotas.periods import Window

type LimitName = str
"""A key of `TOTALS`, one of `OTHER_LIMITS`, or a total of a run: `usd`, `calls` or `tokens`."""
type Kind = Literal["usd", "tokens", "requests"]

KINDS: tuple[Kind, ...] = ("usd", "tokens", "requests")
OTHER_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrent")


class TotalKind(NamedTuple):
    """The use that a total adds up, and how long its periods are."""

    kind: Kind
    window: Window


def name_of(kind: Kind, window: Window) -> LimitName:
    """Return the name of the limit of a total, such as `usd_per_day` or `tokens_lifetime`."""
    return f"{kind}_lifetime" if window == "lifetime" else f"{kind}_per_{window}"


TOTALS: Mapping[LimitName, TotalKind] = MappingProxyType(
    {name_of(kind, window): TotalKind(kind, window) for kind in KINDS for window in WINDOWS}
)
"""The limits of totals by name: those of a kind together, the shortest window first."""
LIMITS = (*OTHER_LIMITS, *TOTALS)
"""All limits of a quota."""
_KINDS_OF_RUNS: Mapping[LimitName, Kind] = MappingProxyType({"usd": "usd", "calls": "requests", "tokens": "tokens"})


def kind_of(name: LimitName) -> Kind | None:
    """Return what a limit of a total adds up; None for the other limits."""
    total = TOTALS.get(name)
    return total.kind if total else _KINDS_OF_RUNS.get(name)


def is_money(name: LimitName) -> bool:
    """Return whether a limit is in dollars."""
    return kind_of(name) == "usd"
