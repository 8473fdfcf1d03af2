"""Returns recorded calls as they end, while writers run. Each call that ends adds a link to its writer's chain.

`EventFollower` shows them to a person. `ended_after` returns those behind a place that is kept, so that none is missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wirekey.core.audit.reading import COLUMNS, event_from

if TYPE_CHECKING:
    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.core.audit.event import AuditEvent
    from wirekey.core.audit.filters import Filters

LINKS_AT_ONCE = 1000
"""Links that `ended_after` looks at. Their calls are found with one statement, whose values are limited."""


class EndedCalls(NamedTuple):
    """The calls that ended behind a place in a chain, in the order in which they ended.

    `place`: the number of the last link that was looked at. `missing`: links, and calls that ended, which were deleted.
    """

    events: list[AuditEvent]
    place: int
    missing: int


def heads(database: AuditReader) -> dict[int, int]:
    """Return writer → the number of the last link of its chain."""
    return dict(database.execute(f"SELECT {database.writer}, seq FROM chain_head"))  # noqa: S608  # of our own names


def ended_after(database: AuditReader, writer: int, place: int, most: int = LINKS_AT_ONCE) -> EndedCalls:
    """Return the calls that ended behind a place in the chain of a writer, of at most `most` links."""
    links = database.execute(
        f"SELECT seq, kind, id FROM chain WHERE {database.writer} = ? AND seq > ? ORDER BY seq LIMIT ?",  # noqa: S608  # values are bound
        [writer, place, most],
    ).fetchall()
    if not links:
        return EndedCalls([], place, 0)
    last = links[-1][0]
    ended = dict.fromkeys(call_id for _, kind, call_id in links if kind != "intent")
    found = {}
    if ended:
        marks = ", ".join("?" * len(ended))
        rows = database.execute(f"SELECT {COLUMNS} FROM calls WHERE id IN ({marks})", [*ended])  # noqa: S608  # values are bound
        found = {event["id"]: event for event in map(event_from, rows)}
    events = [found[call_id] for call_id in ended if call_id in found]
    return EndedCalls(events, last, last - place - len(links) + len(ended) - len(events))


class EventFollower:
    """Returns calls as they end: first the last `before` ended ones, then those that ended since the previous look."""

    def __init__(self, database: AuditReader, filters: Filters, before: int = 0) -> None:
        self._database = database
        where, self._values = filters.where(database.dialect)
        self._where = f"{where} AND" if where else "WHERE"
        database.execute("BEGIN")
        self._seen = heads(database)
        rows = database.execute(
            f"SELECT {COLUMNS} FROM calls {self._where} outcome IS NOT NULL ORDER BY id DESC LIMIT ?",  # noqa: S608  # values are bound
            [*self._values, before],
        ).fetchall()
        database.execute("COMMIT")
        self._ended = [event_from(row) for row in rows][::-1]

    def look(self) -> list[AuditEvent]:
        """Return the calls that ended since the last look, in the order of their start."""
        found, self._ended = self._ended, []
        database = self._database
        statement = (
            f"SELECT {COLUMNS} FROM calls {self._where} id IN"  # noqa: S608  # values are bound
            f" (SELECT id FROM chain WHERE {database.writer} = ? AND seq > ? AND seq <= ? AND kind <> 'intent')"
        )
        database.execute("BEGIN")
        latest = heads(database)
        for writer, seq in latest.items():
            after = self._seen.get(writer, 0)
            if seq > after:
                found += map(event_from, database.execute(statement, [*self._values, writer, after, seq]))
        database.execute("COMMIT")
        self._seen = latest
        return sorted(found, key=lambda event: str(event["id"]))
