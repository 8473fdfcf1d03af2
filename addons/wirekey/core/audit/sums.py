"""Sums over recorded calls: their values, and percentiles of binned durations. Pure.

Durations are counted in bins a sixteenth of an octave wide, because sorting a million of them for each percentile takes
ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wirekey.core.labels import OF_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from wirekey.core.audit.filters import Dialect

type GroupBy = str
"""A key of `GROUPS`, or `label:NAME`."""

GROUPS: dict[GroupBy, str] = {
    "agent": "agent_id",
    "role": "agent_role",
    "type": "agent_type",
    "model": "coalesce(model, requested_model)",
    "provider": "provider",
}
IS_CALL = "coalesce(operation, '') NOT IN ('configuration', 'quota.raise', 'quota.lower')"
"""SQL for whether an event is one of a call. The others are changes that the operator has made."""
OTHER = -1
"""The index of all groups that are not named."""
BINS_AN_OCTAVE = 16
OCTAVES = range(-3, 27)
"""Powers of two of a millisecond, from an eighth of one to eighteen hours."""


def group_sql(by: GroupBy, dialect: Dialect) -> str:
    """Return SQL for the name of a call's group."""
    return dialect.label(by.removeprefix(OF_LABEL)) if by.startswith(OF_LABEL) else GROUPS[by]


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Sums over some calls. `errors`: neither completed nor denied. Tokens and cost: None if none is known.

    `declined`: companion operations of coding agents that no policy allowed. They are not among the calls.
    """

    calls: int = 0
    denials: int = 0
    errors: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    declined: int = 0

    def __add__(self, other: CallCounts) -> CallCounts:
        return CallCounts(
            self.calls + other.calls,
            self.denials + other.denials,
            self.errors + other.errors,
            known_sum(self.input_tokens, other.input_tokens),
            known_sum(self.output_tokens, other.output_tokens),
            known_sum(self.cost_usd, other.cost_usd),
            self.declined + other.declined,
        )


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Nearest-rank percentiles in milliseconds. Exact for a few calls, otherwise within 6 %.

    None if no call has a value.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """Counts and percentiles of some calls.

    `ttfb`: until the first byte of the response body; `duration`: until its end.
    """

    counts: CallCounts = CallCounts()
    ttfb: Percentiles = Percentiles()
    duration: Percentiles = Percentiles()


@dataclass(frozen=True, slots=True)
class Bucket:
    """The calls that started between `start` (UTC) and the start of the next bucket."""

    start: datetime
    sums: Sums


@dataclass(frozen=True, slots=True)
class CallGroup:
    """The calls of one agent, model or provider. `name` None: calls without one. `buckets`: as in `Totals.buckets`."""

    name: str | None
    sums: Sums
    buckets: tuple[CallCounts, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """All totals. `groups`: those with the most calls, in that order.

    `other`: the sum of all further groups, or None if `groups` has them all.
    """

    all: Sums
    buckets: tuple[Bucket, ...]
    groups: tuple[CallGroup, ...] = ()
    other: CallGroup | None = None


type Bin = tuple[int, float, float]
"""The number of durations in a bin, the shortest and the longest."""


type Times = dict[int | None, Percentiles]
"""Percentiles by the index of a bucket or a group. Those of all calls have the key None."""


class SummedCalls(Protocol):
    """The sums for one request for totals. Groups are indexes of `names`, or `OTHER`."""

    def names(self, by: GroupBy, most: int) -> list[str | None]:
        """Return the names of the groups with the most calls."""

    def counts(self, by: GroupBy | None, names: Sequence[str | None]) -> dict[int, dict[int, CallCounts]]:
        """Return the sums by group, then by bucket. All calls are in group 0 if `by` is None."""

    def bucket_times(self) -> tuple[Times, Times]:
        """Return the percentiles by bucket: until the first byte, and until the end."""

    def group_times(self, by: GroupBy, names: Sequence[str | None]) -> tuple[Times, Times]:
        """Return the percentiles by group: until the first byte, and until the end."""


def times_of(rows: Iterable[tuple[int, int, Bin]]) -> Times:
    """Return the percentiles by index of rows of (index, number of the bin, bin). Rows of one bin are added."""
    bins: dict[int | None, dict[int, Bin]] = {None: {}}
    for place, number, found in rows:
        for of in (bins[None], bins.setdefault(place, {})):
            so_far = of.get(number)
            of[number] = added_bins(so_far, found) if so_far else found
    return {place: percentiles_of(of) for place, of in bins.items()}


def added_bins(one: Bin, other: Bin) -> Bin:
    """Return one bin with the durations of both."""
    return one[0] + other[0], min(one[1], other[1]), max(one[2], other[2])


def percentiles_of(bins: Mapping[int, Bin]) -> Percentiles:
    """Return the percentiles of binned durations."""
    ordered = [bins[number] for number in sorted(bins)]
    total = sum(count for count, _, _ in ordered)
    return Percentiles(*(at_rank(ordered, -(-total * share // 100)) for share in (50, 95, 99)))


def at_rank(ordered: Iterable[Bin], rank: int) -> float | None:
    """Return the duration of a rank (from 1), as if those of its bin were evenly distributed."""
    for count, least, most in ordered:
        if rank <= count:
            return least if count == 1 else least + (most - least) * (rank - 1) / (count - 1)
        rank -= count
    return None


def known_sum[N: (int, float)](one: N | None, other: N | None) -> N | None:
    """Return the sum of two numbers, where None is unknown. It is None only if both are."""
    if one is None or other is None:
        return other if one is None else one
    return one + other
