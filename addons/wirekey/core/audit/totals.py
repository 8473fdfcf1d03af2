"""Totals of recorded calls: over time, and by agent, model or provider. Blocks: run it in a thread."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey.core.audit.filters import Filters
from wirekey.core.audit.reading import first_call_time, shown_text
from wirekey.core.audit.sums import OTHER, Bucket, CallCounts, CallGroup, Percentiles, Sums, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wirekey.core.audit.audit_log import AuditDatabase
    from wirekey.core.audit.sums import GroupBy, SummedCalls

MAX_GROUPS = 20
MAX_BUCKETS = 10_000


def totals(
    audit_log: AuditDatabase,
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

    Raises ValueError for more than 10,000 buckets, and AuditDatabaseError, also if there is no audit file yet.
    """
    with audit_log.reading() as database:
        # One transaction: all passes see the same calls.
        database.execute("BEGIN")
        first = since.timestamp() if since else first_call_time(database)
        if first is None:
            return Totals(Sums(), ())
        wanted = replace(filters or Filters(), since=first, until=until.timestamp())
        starts = bucket_starts(first, until.timestamp(), bucket_seconds)
        return totals_of(database.sums(wanted, starts, by), starts, by, max_groups)


def bucket_starts(first: float, end: float, seconds: int) -> range:
    """Return the start times of the buckets in Unix seconds. Raises ValueError if there are too many."""
    start = int(first // seconds) * seconds
    starts = range(start, max(start, -int(-end // 1)), seconds)
    if len(starts) > MAX_BUCKETS:
        raise ValueError(f"{len(starts)} buckets of {seconds} s are too many. Use longer buckets or a shorter time.")
    return starts


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


def times_at(place: int | None, *found: Mapping[int | None, Percentiles]) -> Iterable[Percentiles]:
    """Return the percentiles of one key value from each mapping."""
    return (of.get(place, Percentiles()) for of in found)


def added(found: Iterable[CallCounts | None]) -> CallCounts:
    """Return the sum of these counts."""
    return sum((counts for counts in found if counts), CallCounts())
