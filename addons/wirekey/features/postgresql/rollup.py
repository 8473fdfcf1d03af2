"""Sums of ended calls by the hour, so that totals of a long time do not read millions of calls.

A call is added to the sums once, after its end, in the order of its writer's chain. The number of the last link that
was added is stored in the same transaction. Writers do not wait for this: it has a connection of its own, and any
process may do it for all writers. A reader of the sums adds the calls of later links, and open calls, from rows.

Durations are counted in bins a sixteenth of an octave wide. Names of groups are stored with a leading `=`, and the
empty text stands for no name, because a unique index does not compare nulls.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from wirekey.core.audit.filters import first_id_at
from wirekey.core.audit.sums import BINS_AN_OCTAVE, GROUPS, IS_CALL, OCTAVES
from wirekey.features.postgresql.connection import open_connection
from wirekey.features.postgresql.schema import LOCK

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.core.secret import Secret

logger = logging.getLogger(__name__)

PERIOD = 3600
"""Seconds of a row of the sums. Rows start at its multiples since 1970."""
DAY = 86_400
LINKS_AT_ONCE = 20_000
MOST_WAITING = 200_000
"""Links that are not added yet, beyond which reading all rows is faster than finding theirs."""
SECONDS_AT_MOST = 60.0
ROLL_UP_LOCK = -2
"""The object of the advisory lock. Its holder changes the sums."""

LIMITS = [
    *(2.0**octave * (1 + part / BINS_AN_OCTAVE) for octave in OCTAVES[1:] for part in range(BINS_AN_OCTAVE)),
    2.0 ** (OCTAVES[-1] + 1),
]
"""The shortest duration of each bin but the first, in milliseconds. Stored sums depend on it."""
SECOND = (
    "(CASE WHEN {0} ~ '^[0-9a-f]{{8}}-[0-9a-f]{{4}}'"
    " THEN ('x' || left({0}, 8) || substr({0}, 10, 4))::bit(48)::bigint / 1000 ELSE 0 END)"
)
"""SQL for the start of a call by its id, in Unix seconds. 0 for an id that Wirekey did not make."""
EVERYTHING = "all"


def key_of(name: str) -> str:
    """Return SQL for the key of a group in the sums. `name`: SQL for its name."""
    return f"coalesce('=' || {name}, '')"


KEYS: dict[str, str] = {EVERYTHING: "''", **{by: key_of(name) for by, name in GROUPS.items()}}
"""Dimension → SQL for the group of a call in it."""
COUNTED = {
    "recorded": "count(*)",
    "calls": "count(*) FILTER (WHERE outcome IS DISTINCT FROM 'declined')",
    "denials": "count(*) FILTER (WHERE outcome = 'denied')",
    "errors": "count(*) FILTER (WHERE outcome NOT IN ('completed', 'denied', 'declined'))",
    "declined": "count(*) FILTER (WHERE outcome = 'declined')",
    "input_tokens": "sum(input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cost_usd": "sum(cost_usd::numeric) FILTER (WHERE abs(cost_usd) < 'infinity')",
}
"""Column of the sums → the sum over rows of calls. Costs are summed as decimals, so that the order does not matter."""
SOURCES = "outcome, input_tokens, output_tokens, cost_usd, ttfb_ms, duration_ms"
IS_TIME = "value >= 0 AND value < 'infinity'"
TIMED = "CROSS JOIN LATERAL (VALUES ('ttfb', ttfb_ms), ('duration', duration_ms)) AS timed(kind, value)"
SUMS = ", ".join(f"{sql} AS {name}" for name, sql in COUNTED.items())
ADDED = ", ".join(f"{name} = coalesce(old.{name} + new.{name}, old.{name}, new.{name})" for name in COUNTED)
MERGED = (
    "GROUP BY 1, 2, 3, 4, 5 ON CONFLICT (dimension, start, name, kind, bin) DO UPDATE SET"
    " count = old.count + excluded.count, least = least(old.least, excluded.least),"
    " most = greatest(old.most, excluded.most)"
)


def times_added(table: str, period: int) -> str:
    """Return SQL that adds the durations of `ended` to a table. `MERGED` completes it."""
    return (
        f"INSERT INTO {table} AS old (dimension, name, start, kind, bin, count, least, most)"  # noqa: S608  # of our own names
        f" SELECT dimension, name, start / {period} * {period}, kind, width_bucket(value, %(limits)s::float8[]),"
        f" count(*), min(value), max(value) FROM ended {TIMED} WHERE {IS_TIME}"
    )


ADD = f"""
WITH ended AS MATERIALIZED (
    SELECT {SECOND.format("calls.id")} / {PERIOD} * {PERIOD} AS start, dimension, name, {SOURCES}
    FROM chain JOIN calls ON calls.id = chain.id
    CROSS JOIN LATERAL (VALUES {", ".join(f"('{by}', {key})" for by, key in KEYS.items())}) AS groups(dimension, name)
    WHERE chain.writer = %(writer)s AND chain.seq > %(after)s AND chain.seq <= %(last)s AND chain.kind <> 'intent'
    AND calls.id >= %(begins)s AND {IS_CALL}
), counted AS (
    INSERT INTO hourly_counts AS old (dimension, name, start, {", ".join(COUNTED)})
    SELECT dimension, name, start, {SUMS} FROM ended GROUP BY dimension, name, start
    ON CONFLICT (dimension, start, name) DO UPDATE SET {ADDED.replace("new.", "excluded.")}
), by_hour AS (
    {times_added("hourly_times", PERIOD)}
    {MERGED}
), by_day AS (
    {times_added("daily_times", DAY)} AND dimension <> '{EVERYTHING}'
    {MERGED}
)
INSERT INTO rolled_up VALUES (%(writer)s, %(last)s) ON CONFLICT (writer) DO UPDATE SET seq = excluded.seq
"""  # noqa: S608  # of our own names; values are bound
WAITING = """
SELECT chain_head.writer, coalesce(rolled_up.seq, 0), chain_head.seq FROM chain_head LEFT JOIN rolled_up USING (writer)
WHERE chain_head.seq > coalesce(rolled_up.seq, 0) ORDER BY chain_head.seq - coalesce(rolled_up.seq, 0) DESC LIMIT 1
"""
ALL_WAITING = """
SELECT count(*), coalesce(sum(chain_head.seq - coalesce(rolled_up.seq, 0)), 0)::bigint
FROM chain_head LEFT JOIN rolled_up USING (writer) WHERE chain_head.seq > coalesce(rolled_up.seq, 0)
"""


def roll_up_all(url: Secret, stop: threading.Event) -> None:
    """Add all calls that have ended, unless another process does so. A failure is logged; the next run continues."""
    try:
        with contextlib.closing(open_connection(url, SECONDS_AT_MOST)) as connection:
            # Only what waits now: under load, more arrives all the time, and would be added in tiny portions.
            found = connection.execute(ALL_WAITING).fetchone()
            writers, links = found or (0, 0)
            for _ in range(writers + links // LINKS_AT_ONCE):
                if stop.is_set() or not roll_up(connection):
                    break
    except (psycopg.Error, OSError) as error:
        logger.debug("the hourly sums were not brought up to date: %s", type(error).__name__)


def roll_up(connection: psycopg.Connection[Any], most: int = LINKS_AT_ONCE) -> bool:
    """Add the calls of the next links of a writer. Return whether there was one, and no other process is adding."""
    with connection.transaction():
        if connection.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK, ROLL_UP_LOCK]).fetchone() != (True,):
            return False
        found = connection.execute(WAITING).fetchone()
        begins = connection.execute("SELECT begins FROM rollup").fetchone()
        if not found or not begins:
            return False
        writer, after, head = found
        last = min(head, after + most)
        values = {"writer": writer, "after": after, "last": last, "begins": first_id_at(begins[0]), "limits": LIMITS}
        connection.execute(ADD.encode(), values)
    return True


def forget_before(connection: psycopg.Connection[Any], moment: float) -> None:
    """Remove the sums of hours that begin before `moment` (Unix seconds), before their calls are deleted.

    The remaining calls of these hours are read from their rows from now on.
    """
    begins = -(-moment // PERIOD) * PERIOD
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, ROLL_UP_LOCK])
        connection.execute("UPDATE rollup SET begins = greatest(begins, %s)", [int(begins)])
        for table in ("hourly_counts", "hourly_times", "daily_times"):
            connection.execute(f"DELETE FROM {table} WHERE start < (SELECT begins FROM rollup)".encode())  # noqa: S608  # of our own names


class Span(NamedTuple):
    """Whole hours whose sums can be read: from `start` until before `end`, in Unix seconds."""

    start: int
    end: int


class WaitingLinks(NamedTuple):
    """The links of a writer whose calls are not in the sums yet: after one, until another."""

    writer: int
    after: int
    last: int


def waiting_links(database: AuditReader) -> list[WaitingLinks]:
    """Return the links that are not added yet, of each writer that has some."""
    if database.execute("SELECT to_regclass('rollup')").fetchone() == (None,):
        return []  # the tables of an earlier Wirekey
    rows = database.execute(
        "SELECT chain_head.writer, coalesce(rolled_up.seq, 0), chain_head.seq"
        " FROM chain_head LEFT JOIN rolled_up USING (writer) WHERE chain_head.seq > coalesce(rolled_up.seq, 0)"
    )
    return [WaitingLinks(*row) for row in rows]


def summed_span(database: AuditReader, since: float, until: float, waiting: Iterable[WaitingLinks] = ()) -> Span | None:
    """Return the hours between two times (Unix seconds) whose sums can be read. None: read rows.

    If `until` is not past, it also has the rest of the day, as no call is recorded after that.
    """
    if database.execute("SELECT to_regclass('rollup')").fetchone() == (None,):
        return None  # the tables of an earlier Wirekey
    (begins,) = database.execute("SELECT begins FROM rollup").fetchone()
    links = sum(one.last - one.after for one in waiting)
    # To the millisecond, as ids are.
    start = -(-int(since * 1000) // (PERIOD * 1000)) * PERIOD
    end = int(until * 1000) // (PERIOD * 1000) * PERIOD
    if until >= time.time():
        end = (int(until) // DAY + 1) * DAY
    span = Span(max(start, begins), end)
    return span if span.start < span.end and links <= MOST_WAITING else None
