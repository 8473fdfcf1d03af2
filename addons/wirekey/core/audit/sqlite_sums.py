"""Sums over the calls in an audit file. SQLite groups and sorts without Python's lock, so that calls continue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from wirekey.core.audit.sums import BINS_AN_OCTAVE, IS_CALL, OCTAVES, OTHER, CallCounts, group_sql, times_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.core.audit.event import EventValue
    from wirekey.core.audit.filters import Filters
    from wirekey.core.audit.sums import GroupBy, Times

SUMS = (
    "total(outcome IS NOT 'declined'), total(outcome = 'denied'),"
    " total(outcome IS NOT NULL AND outcome NOT IN ('completed', 'denied', 'declined')), total(outcome = 'declined'),"
    " sum(input_tokens), sum(output_tokens), sum(cost_usd)"
)
"""Calls, denials, errors, declined; input tokens, output tokens, cost."""
SECOND = "CAST(strftime('%s', time) AS INTEGER)"
"""The start of a call in whole Unix seconds."""


class SqlKey(NamedTuple):
    """An SQL expression that returns an integer for a call, and the values of its placeholders."""

    sql: str
    values: Sequence[EventValue] = ()


class FileSums:
    """Sums over calls in an audit file."""

    def __init__(self, database: AuditReader, filters: Filters, starts: range) -> None:
        self._database = database
        where, self._values = filters.where(database.dialect)
        self._where = f"{where} AND {IS_CALL}" if where else f"WHERE {IS_CALL}"
        # Limited to the range: a call's id and its time are set one after the other, and may differ.
        place = f"({SECOND} - {starts.start}) / {starts.step}"
        self._bucket = SqlKey(f"max(0, min({len(starts) - 1}, {place}))")

    def names(self, by: GroupBy, most: int) -> list[str | None]:
        """Return the names of the groups with the most calls."""
        rows = self._database.execute(
            f"SELECT {group_sql(by, self._database.dialect)}, count(*) FROM calls {self._where}"  # noqa: S608  # of our own names; values are bound
            f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
            [*self._values, most],
        )
        return [name for name, _ in rows]

    def counts(self, by: GroupBy | None, names: Sequence[str | None]) -> dict[int, dict[int, CallCounts]]:
        """Return the sums by group, then by bucket."""
        group = self._group(by, names) if by else SqlKey("0")
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
        group = self._group(by, names)
        return self._percentiles(group, "ttfb_ms"), self._percentiles(group, "duration_ms")

    def _group(self, by: GroupBy, names: Sequence[str | None]) -> SqlKey:
        return group_key(group_sql(by, self._database.dialect), names)

    def _percentiles(self, key: SqlKey, column: str) -> Times:
        wanted, keys = f"count(*), min({column}), max({column})", [key, SqlKey(bin_of(column))]
        return times_of((row[0], row[1], row[2:]) for row in self._rows(keys, wanted, f"{column} >= 0"))

    def _rows(self, keys: Sequence[SqlKey], wanted: str, condition: str = "1 = 1") -> Iterable[Any]:
        """Return the wanted columns for the calls of each combination of the keys."""
        columns = ", ".join([*(key.sql for key in keys), wanted])
        grouped = ", ".join(str(number) for number in range(1, len(keys) + 1))
        return self._database.execute(
            f"SELECT {columns} FROM calls {self._where} AND {condition} GROUP BY {grouped}",  # noqa: S608  # of our own names; values are bound
            [*(value for key in keys for value in key.values), *self._values],
        ).fetchall()


def group_key(name: str, names: Sequence[str | None]) -> SqlKey:
    """Return the key that is the index of a call's group in `names`, or `OTHER`. `name`: SQL for a call's group."""
    cases = "".join(f" WHEN {name} IS ? THEN {place}" for place in range(len(names)))
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
