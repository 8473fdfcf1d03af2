"""Compares the audit log with a report: which counts differ, and why they may. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wirekey.features.reconciliation.usage import Group, UsedTokens, base_name, summed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.features.reconciliation.usage import Used

CENT = 0.01
"""US dollars. A smaller difference of costs is no difference: reports are rounded."""
COUNTS = ("input_tokens", "output_tokens", "cost_usd")


@dataclass(frozen=True, slots=True)
class Compared:
    """One group in both. `differs`: the names of the counts that differ. `reasons`: why they may."""

    group: Group
    recorded: UsedTokens
    reported: UsedTokens
    differs: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def compare(
    recorded: Sequence[Used], reported: Sequence[Used], *, keys: Mapping[str, str], tolerance: float
) -> list[Compared]:
    """Compare by day, and by model and key as far as the report names them.

    `keys`: label of a credential → the provider's id of that key. Keys are compared only if there are some.
    `tolerance`: a share, such as 0.01. Smaller differences are ignored.
    """
    by_model = any(group.model for group, _ in reported)

    def theirs(group: Group) -> Group:
        return Group(group.day, base_name(group.model) if by_model else "", group.key if keys else "")

    def ours(group: Group) -> Group:
        return theirs(replace(group, key=keys.get(group.key, group.key)))

    here, there = summed(recorded, ours), summed(reported, theirs)
    order = sorted(here.keys() | there.keys(), key=lambda group: (group.day, group.model, group.key))
    known = {name for usage in there.values() for name in COUNTS if getattr(usage, name) is not None}
    nothing = UsedTokens(**dict.fromkeys(known, 0))
    return [
        compared(group, here.get(group, UsedTokens()), there.get(group, nothing), tolerance, in_both=group in here)
        for group in order
    ]


def compared(group: Group, here: UsedTokens, there: UsedTokens, tolerance: float, *, in_both: bool) -> Compared:
    """Compare one group."""
    differs = tuple(name for name in COUNTS if is_different(name, getattr(here, name), getattr(there, name), tolerance))
    return Compared(
        group, here, there, differs, tuple(reasons(here, there, differs, in_both=in_both)) if differs else ()
    )


def is_different(name: str, here: float | None, there: float | None, tolerance: float) -> bool:
    """Return whether two counts differ. A count that the report does not have never does."""
    if there is None:
        return False
    least = CENT if name == "cost_usd" else 0
    return abs((here or 0) - there) > max(least, tolerance * max(abs(here or 0), abs(there)))


def reasons(here: UsedTokens, there: UsedTokens, differs: Sequence[str], *, in_both: bool) -> list[str]:
    """Return why the counts of a group may differ, the most likely first."""
    more_there = [name for name in differs if (getattr(there, name) or 0) > (getattr(here, name) or 0)]
    found = []
    if not in_both:
        return ["no such call passed through Wirekey: another program has a key, or the model has another name there"]
    if more_there:
        if here.uncounted:
            found.append(f"{here.uncounted} recorded calls have no token counts, such as calls that broke off")
        if there.requests is not None and there.requests > (here.requests or 0):
            missing = there.requests - (here.requests or 0)
            found.append(f"{missing} requests did not pass through Wirekey: another program has a key")
        elif not here.uncounted:
            found.append("calls did not pass through Wirekey: another program has a key")
    if len(more_there) < len(differs):
        found.append("the report is not complete yet, or the calls were billed on the next day")
    if list(differs) == ["cost_usd"]:
        found.append("discounts, credits, taxes or tools, as Wirekey counts list prices of tokens: see wirekey prices")
    return found
