"""Totals of calls in a PostgreSQL database: from the hourly sums as far as these have them, otherwise from rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.filters import Filters, first_id_at
from wirekey.core.audit.sums import IS_CALL, OTHER, CallCounts, group_sql, times_of
from wirekey.features.postgresql.rollup import (
    COUNTED,
    DAY,
    EVERYTHING,
    IS_TIME,
    KEYS,
    LIMITS,
    PERIOD,
    SECOND,
    SOURCES,
    SUMS,
    TIMED,
    Span,
    key_of,
    summed_span,
    waiting_links,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.core.audit.event import EventValue
    from wirekey.core.audit.filters import Dialect
    from wirekey.core.audit.sums import Bin, GroupBy, Times
    from wirekey.features.postgresql.rollup import WaitingLinks

NAMED = ", ".join(sorted({"agent_id", "agent_role", "agent_type", "model", "requested_model", "provider"}))
LABELS = "labels, labels_unverified"
WITHIN = "dimension = ? AND start >= ? AND start < ?"


class PostgresSums:
    """Sums over calls in a PostgreSQL database. The connection sees one moment."""

    def __init__(self, database: AuditReader, filters: Filters, starts: range, by: GroupBy | None = None) -> None:
        self._database, self._starts = database, starts
        assert filters.since is not None
        assert filters.until is not None
        times_only = filters == Filters(since=filters.since, until=filters.until)
        fits = times_only and starts.step % PERIOD == 0 and (by is None or by in KEYS)
        waiting = waiting_links(database) if fits else []
        self._span = summed_span(database, filters.since, filters.until, waiting) if fits else None
        self._rows, self._values = rows_of(filters, database.dialect, self._span, waiting)
        self._found: dict[str, list[Any]] = {}

    def names(self, by: GroupBy, most: int) -> list[str | None]:
        """Return the names of the groups with the most calls."""
        recorded: dict[str, int] = {}
        for key, _, count, *_ in self._counted(by):
            recorded[key] = recorded.get(key, 0) + int(count)
        return [name_of(key) for key in sorted(recorded, key=lambda key: (-recorded[key], key))[:most]]

    def counts(self, by: GroupBy | None, names: Sequence[str | None]) -> dict[int, dict[int, CallCounts]]:
        """Return the sums by group, then by bucket."""
        places = places_of(names)
        counts: dict[int, dict[int, CallCounts]] = {}
        for key, place, _, calls, denials, errors, declined, tokens_in, tokens_out, cost in self._counted(by):
            in_buckets = counts.setdefault(places.get(key, OTHER) if by else 0, {})
            found = CallCounts(
                int(calls),
                int(denials),
                int(errors),
                None if tokens_in is None else int(tokens_in),
                None if tokens_out is None else int(tokens_out),
                cost,
                int(declined),
            )
            in_buckets[place] = in_buckets.get(place, CallCounts()) + found
        # As floats only now, and in order: sums of floats depend on the order, those of decimals do not.
        return {
            group: {place: in_dollars(one) for place, one in sorted(of.items())} for group, of in sorted(counts.items())
        }

    def bucket_times(self) -> tuple[Times, Times]:
        """Return the percentiles by bucket."""
        return self._times(EVERYTHING, self._bucket("start"), self._bucket(SECOND.format("id")), None)

    def group_times(self, by: GroupBy, names: Sequence[str | None]) -> tuple[Times, Times]:
        """Return the percentiles by group."""
        return self._times(by, "name", self._key(by), places_of(names))

    def _bucket(self, second: str) -> str:
        """Return SQL for the index of a bucket."""
        starts = self._starts
        return f"greatest(0, least({len(starts) - 1}, ({second} - {starts.start}) / {starts.step}))::integer"

    def _key(self, dimension: str) -> str:
        """Return SQL for the group of a call in a dimension."""
        return KEYS.get(dimension) or key_of(group_sql(dimension, self._database.dialect))

    def _counted(self, by: GroupBy | None) -> list[Any]:
        """Return rows of a group's key, the index of a bucket, and the columns of `COUNTED`."""
        dimension = by or EVERYTHING
        if dimension not in self._found:
            row_query = (
                f"SELECT {self._key(dimension)}, {self._bucket(SECOND.format('id'))}, {SUMS}"  # noqa: S608  # of our own names; values are bound
                f" FROM ({self._rows}) AS calls GROUP BY 1, 2"
            )
            found = list(self._database.execute(row_query, self._values).fetchall())
            if self._span:
                summed = ", ".join(f"sum({name})" for name in COUNTED)
                query = (
                    f"SELECT name, {self._bucket('start')}, {summed} FROM hourly_counts WHERE {WITHIN} GROUP BY 1, 2"  # noqa: S608  # of our own names; values are bound
                )
                found += self._database.execute(query, [dimension, *self._span]).fetchall()
            self._found[dimension] = found
        return self._found[dimension]

    def _times(self, dimension: str, key: str, row_key: str, places: Mapping[str, int] | None) -> tuple[Times, Times]:
        """Return the percentiles by a key, which `places` makes the index of a group."""
        row_query = (
            f"SELECT {row_key}, kind, width_bucket(value, ?::float8[]), count(*), min(value), max(value)"  # noqa: S608  # of our own names; values are bound
            f" FROM ({self._rows}) AS calls {TIMED} WHERE {IS_TIME} GROUP BY 1, 2, 3"
        )
        found = list(self._database.execute(row_query, [LIMITS, *self._values]).fetchall())
        for table, span in spans_of(self._span, by_day=places is not None) if self._span else ():
            found += self._database.execute(
                f"SELECT {key}, kind, bin, sum(count)::bigint, min(least), max(most) FROM {table} WHERE {WITHIN}"  # noqa: S608  # of our own names; values are bound
                " GROUP BY 1, 2, 3",
                [dimension, *span],
            ).fetchall()
        rows: dict[str, list[tuple[int, int, Bin]]] = {"ttfb": [], "duration": []}
        for found_key, kind, number, *bin_ in found:
            place = found_key if places is None else places.get(found_key, OTHER)
            rows[kind].append((place, number, tuple(bin_)))
        return times_of(rows["ttfb"]), times_of(rows["duration"])


def spans_of(span: Span, *, by_day: bool) -> list[tuple[str, Span]]:
    """Return the tables of durations to read, and the time to read from each. `by_day`: whole days from sums by day."""
    first, last = -(-span.start // DAY) * DAY, span.end // DAY * DAY
    if not by_day or first >= last:
        return [("hourly_times", span)]
    hours = [Span(span.start, first), Span(last, span.end)]
    return [("daily_times", Span(first, last)), *(("hourly_times", part) for part in hours)]


def rows_of(
    filters: Filters, dialect: Dialect, span: Span | None, waiting: Sequence[WaitingLinks]
) -> tuple[str, list[EventValue]]:
    """Return SQL, and its values, for the calls that the sums of these hours do not have.

    `waiting`: the links whose calls are not in the sums. Named one by one, because a join with the numbers makes the
    planner read all links.
    """
    read = f"SELECT id, {NAMED}, {LABELS}, {SOURCES} FROM calls"  # noqa: S608  # of our own names
    if span is None:
        where, values = filters.where(dialect)
        return f"{read} {where} AND {IS_CALL}" if where else f"{read} WHERE {IS_CALL}", values
    before, after = replace(filters, until=float(span.start)), replace(filters, since=float(span.end))
    (first, first_values), (last, last_values) = before.where(dialect), after.where(dialect)
    inside = [first_id_at(span.start), first_id_at(span.end)]
    links = " UNION ALL ".join(
        ["SELECT id FROM chain WHERE writer = ? AND seq > ? AND seq <= ? AND kind <> 'intent'"] * len(waiting)
    )
    within = "WHERE id >= ? AND id < ? AND"
    parts = [
        f"{read} {first} AND {IS_CALL}",
        f"{read} {last} AND {IS_CALL}",
        f"{read} {within} outcome IS NULL",
    ]
    values = [*first_values, *last_values, *inside]
    if waiting:
        parts.append(f"{read} {within} {IS_CALL} AND id IN ({links})")  # of our own names; values are bound
        values += [*inside, *(number for one in waiting for number in one)]
    return " UNION ALL ".join(parts), values


def places_of(names: Sequence[str | None]) -> dict[str, int]:
    """Return the index of each name by its key in the sums."""
    return {"" if name is None else f"={name}": place for place, name in enumerate(names)}


def name_of(key: str) -> str | None:
    """Return the name of a group by its key in the sums."""
    return key[1:] if key else None


def in_dollars(counts: CallCounts) -> CallCounts:
    """Return counts with the cost as a float instead of a decimal."""
    return counts if counts.cost_usd is None else replace(counts, cost_usd=float(counts.cost_usd))
