"""Totals of recorded calls: over time, and by agent, model or provider. Blocks: run it in a thread.

SQLite groups and sorts without Python's lock, so that a proxy in the same process keeps running. Durations are counted
in bins a sixteenth of an octave wide, because sorting a million of them for each percentile takes ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from wirekey.core.audit.audit_log import is_postgres, open_audit_log
from wirekey.core.audit.reading import Filters, first_call_time, shown_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from wirekey.core.audit.audit_log import AuditAddress, AuditConnection
    from wirekey.core.audit.event import EventValue

type GroupBy = Literal["agent", "role", "type", "model", "provider"]

GROUPS: dict[GroupBy, str] = {
    "agent": "agent_id",
    "role": "agent_role",
    "type": "agent_type",
    "model": "coalesce(model, requested_model)",
    "provider": "provider",
}
MAX_GROUPS = 20
MAX_BUCKETS = 10_000
OTHER = -1
"""The index of all groups that are not named."""


SUMS = (
    "total(outcome IS NOT 'declined'), total(outcome = 'denied'),"
    " total(outcome IS NOT NULL AND outcome NOT IN ('completed', 'denied', 'declined')), total(outcome = 'declined'),"
    " sum(input_tokens), sum(output_tokens), sum(cost_usd)"
)
"""Calls, denials, errors, declined; input tokens, output tokens, cost."""
SECOND = "CAST(strftime('%s', time) AS INTEGER)"
"""The start of a call in whole Unix seconds."""
BINS_AN_OCTAVE = 16
OCTAVES = range(-3, 27)
"""Powers of two of a millisecond, from an eighth of one to eighteen hours."""


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


def totals(
    address: AuditAddress,
    *,
    since: datetime | None,
    until: datetime,
    bucket_seconds: int,
    by: GroupBy | None,
    filters: Filters | None = None,
    max_groups: int = MAX_GROUPS,
) -> Totals:
    """Return the totals of the calls that started from `since` (None: the first call) until before `until`.

    Both times have a time zone. Buckets start at multiples of `bucket_seconds` since 1970, so that 86400 makes UTC
    days. Empty buckets are included. `filters` limits the calls further; its own times have no effect. At most
    `max_groups` are named.

    Raises ValueError for more than 10,000 buckets, AuditFileError, also if no call was ever recorded,
    AuditDatabaseError and sqlite3.Error.
    """
    with open_audit_log(address) as database:
        # One transaction: all passes see the same calls.
        database.execute("BEGIN")
        first = since.timestamp() if since else first_call_time(database)
        if first is None:
            return Totals(Sums(), ())
        wanted = replace(filters or Filters(), since=first, until=until.timestamp())
        starts = bucket_starts(first, until.timestamp(), bucket_seconds)
        if is_postgres(database):
            from wirekey.core.audit.postgres_totals import PostgresSums

            return totals_of(PostgresSums(database, wanted, starts), starts, by, max_groups)
        return totals_of(FileSums(database, wanted, starts), starts, by, max_groups)


def bucket_starts(first: float, end: float, seconds: int) -> range:
    """Return the start times of the buckets in Unix seconds. Raises ValueError if there are too many."""
    start = int(first // seconds) * seconds
    starts = range(start, max(start, -int(-end // 1)), seconds)
    if len(starts) > MAX_BUCKETS:
        raise ValueError(f"{len(starts)} buckets of {seconds} s are too many. Use longer buckets or a shorter time.")
    return starts


class SqlKey(NamedTuple):
    """An SQL expression that returns an integer for a call, and the values of its placeholders."""

    sql: str
    values: Sequence[EventValue] = ()


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


def totals_of(calls: SummedCalls, starts: range, by: GroupBy | None, max_groups: int) -> Totals:
    """Return the totals, with the `max_groups` largest groups."""
    names = calls.names(by, max_groups) if by else []
    counts = calls.counts(by, names)
    per_bucket = [added(of.get(place) for of in counts.values()) for place in range(len(starts))]
    times = calls.bucket_times()
    buckets = tuple(
        Bucket(datetime.fromtimestamp(start, UTC), Sums(per_bucket[place], *times_at(place, *times)))
        for place, start in enumerate(starts)
    )
    everything = Sums(added(per_bucket), *times_at(None, *times))
    groups: dict[int, CallGroup] = {}
    if by:
        of_groups = calls.group_times(by, names)
        for place, of in sorted(counts.items()):
            in_buckets = tuple(of.get(bucket, CallCounts()) for bucket in range(len(starts)))
            sums = Sums(added(of.values()), *times_at(place, *of_groups))
            groups[place] = CallGroup(shown_text(names[place]) if place != OTHER else None, sums, in_buckets)
    other = groups.pop(OTHER, None)
    return Totals(everything, buckets, tuple(groups.values()), other)


class FileSums:
    """Sums over calls in an audit file."""

    def __init__(self, database: AuditConnection, filters: Filters, starts: range) -> None:
        self._database = database
        self._where, self._values = filters.where()
        # Limited to the range: a call's id and its time are set one after the other, and may differ.
        place = f"({SECOND} - {starts.start}) / {starts.step}"
        self._bucket = SqlKey(f"max(0, min({len(starts) - 1}, {place}))")

    def names(self, by: GroupBy, most: int) -> list[str | None]:
        """Return the names of the groups with the most calls."""
        rows = self._database.execute(
            f"SELECT {GROUPS[by]}, count(*) FROM calls {self._where}"  # noqa: S608  # of our own names; values are bound
            f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
            [*self._values, most],
        )
        return [name for name, _ in rows]

    def counts(self, by: GroupBy | None, names: Sequence[str | None]) -> dict[int, dict[int, CallCounts]]:
        """Return the sums by group, then by bucket."""
        group = group_key(by, names) if by else SqlKey("0")
        counts: dict[int, dict[int, CallCounts]] = {}
        for kind, place, calls, denials, errors, declined, *known in self._rows([group, self._bucket], SUMS):
            found = CallCounts(int(calls), int(denials), int(errors), *known)
            counts.setdefault(kind, {})[place] = replace(found, declined=int(declined))
        return counts

    def bucket_times(self) -> tuple[Times, Times]:
        """Return the percentiles by bucket."""
        return self._percentiles(self._bucket, "ttfb_ms"), self._percentiles(self._bucket, "duration_ms")

    def group_times(self, by: GroupBy, names: Sequence[str | None]) -> tuple[Times, Times]:
        """Return the percentiles by group."""
        group = group_key(by, names)
        return self._percentiles(group, "ttfb_ms"), self._percentiles(group, "duration_ms")

    def _percentiles(self, key: SqlKey, column: str) -> Times:
        wanted, keys = f"count(*), min({column}), max({column})", [key, SqlKey(bin_of(column))]
        return times_of((row[0], row[1], row[2:]) for row in self._rows(keys, wanted, f"{column} >= 0"))

    def _rows(self, keys: Sequence[SqlKey], wanted: str, condition: str = "1 = 1") -> Iterable[Any]:
        """Return the wanted columns for the calls of each combination of the keys."""
        columns = ", ".join([*(key.sql for key in keys), wanted])
        grouped = ", ".join(str(number) for number in range(1, len(keys) + 1))
        where = f"{self._where} AND {condition}" if self._where else f"WHERE {condition}"
        return self._database.execute(
            f"SELECT {columns} FROM calls {where} GROUP BY {grouped}",  # noqa: S608  # of our own names; values are bound
            [*(value for key in keys for value in key.values), *self._values],
        ).fetchall()


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


def group_key(by: GroupBy, names: Sequence[str | None]) -> SqlKey:
    """Return the key that is the index of a call's group in `names`, or `OTHER`."""
    cases = "".join(f" WHEN {GROUPS[by]} IS ? THEN {place}" for place in range(len(names)))
    return SqlKey(f"CASE WHEN 1 = 0 THEN 0{cases} ELSE {OTHER} END", names)


def bin_of(column: str) -> str:
    """Return SQL for the bin number of a duration. It uses cases, because not every SQLite has logarithms."""
    cases = " ".join(
        f"WHEN {column} < {2.0 ** (octave + 1)} THEN"
        f" {octave * BINS_AN_OCTAVE} + CAST(({column} / {2.0**octave} - 1) * {BINS_AN_OCTAVE} AS INTEGER)"
        for octave in OCTAVES[1:]
    )
    shortest, longest = OCTAVES[0] * BINS_AN_OCTAVE, OCTAVES[-1] * BINS_AN_OCTAVE + BINS_AN_OCTAVE
    return f"CASE WHEN {column} < {2.0 ** (OCTAVES[0] + 1)} THEN {shortest} {cases} ELSE {longest} END"


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


def times_at(place: int | None, *found: Mapping[int | None, Percentiles]) -> Iterable[Percentiles]:
    """Return the percentiles of one key value from each mapping."""
    return (of.get(place, Percentiles()) for of in found)


def added(found: Iterable[CallCounts | None]) -> CallCounts:
    """Return the sum of these counts."""
    return sum((counts for counts in found if counts), CallCounts())


def known_sum[N: (int, float)](one: N | None, other: N | None) -> N | None:
    """Return the sum of two numbers, where None is unknown. It is None only if both are."""
    if one is None or other is None:
        return other if one is None else one
    return one + other
