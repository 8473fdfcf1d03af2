"""Reads the hash chains of a PostgreSQL database, one for each writer."""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.chain import LINKED_NAMES, LastLink
from wirekey.core.audit.verifying import LinkedEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wirekey.core.audit.audit_log import PostgresReader
    from wirekey.core.audit.event import EventValue

MOST_NAMED = 20


def chains(database: PostgresReader) -> list[DatabaseChain]:
    """Return all chains, in the order in which they began."""
    rows = database.execute("SELECT writer, chain, seq, hash FROM chain_head ORDER BY writer").fetchall()
    return [DatabaseChain(database, writer, chain, LastLink(seq, last)) for writer, chain, seq, last in rows]


def without_writer(database: PostgresReader) -> list[str]:
    """Return the first calls that no writer can have recorded."""
    rows = database.execute(
        "SELECT id FROM calls WHERE writer NOT IN (SELECT writer FROM chain_head) ORDER BY id LIMIT ?", [MOST_NAMED]
    )
    return [call_id for (call_id,) in rows]


class DatabaseChain:
    """The chain of one writer. All is read as it was at one moment, that of the connection's transaction."""

    def __init__(self, database: PostgresReader, writer: int, chain: str, head: LastLink) -> None:
        self._database, self._writer, self._head = database, writer, head
        self.chain = chain

    def head(self) -> LastLink:
        """Return the last link that the database names."""
        return self._head

    def checkpoints(self) -> list[str]:
        """Return the checkpoints in the database, as they are stored."""
        rows = self._database.execute("SELECT document FROM checkpoints WHERE chain = ? ORDER BY number", [self.chain])
        return [document for (document,) in rows]

    def linked(self, after: int) -> Iterable[LinkedEvent]:
        """Yield the links with a number above `after`, in order."""
        # One query for each kind, so that no column is read that its links do not cover.
        return heapq.merge(*(self._of_kind(kind, after) for kind in LINKED_NAMES), key=itemgetter(0))

    def _of_kind(self, kind: str, after: int) -> Iterator[LinkedEvent]:
        names = LINKED_NAMES[kind]
        with_attempts = "EXISTS (SELECT 1 FROM attempts WHERE call_id = chain.id)" if kind == "outcome" else "false"
        rows = self._database.execute(
            f"SELECT chain.seq, chain.id, chain.hash, {with_attempts}, {', '.join(f'calls.{name}' for name in names)}"  # noqa: S608  # of our own names
            " FROM chain LEFT JOIN calls ON calls.id = chain.id"
            " WHERE chain.writer = ? AND chain.kind = ? AND chain.seq > ? ORDER BY chain.seq",
            [self._writer, kind, after],
        )
        for seq, call_id, stored, tried_again, *values in rows:
            attempts = self._attempts(call_id) if tried_again else ()
            yield LinkedEvent(seq, kind, call_id, stored, None if values[0] is None else values, attempts)

    def _attempts(self, call_id: str) -> list[tuple[Any, ...]]:
        return self._database.execute("SELECT * FROM attempts WHERE call_id = ? ORDER BY number", [call_id]).fetchall()

    def outcomes(self, ids: Iterable[str]) -> Mapping[str, EventValue]:
        """Return the outcomes of these calls."""
        return dict(self._database.execute("SELECT id, outcome FROM calls WHERE id = ANY(?)", [list(ids)]).fetchall())

    def count(self, first: str, end: str | None = None) -> int:
        """Return the number of calls of this writer with ids from `first` until before `end`."""
        rows = self._database.execute(
            "SELECT count(*) FROM calls WHERE writer = ? AND id >= ? AND id < ?", [self._writer, first, end or "~"]
        )
        return int(rows.fetchone()[0])

    def unlinked(self, first: str) -> list[str]:
        """Return the first calls of this writer from this id on that have no link."""
        rows = self._database.execute(
            "SELECT id FROM calls WHERE writer = ? AND id >= ? AND id NOT IN"
            " (SELECT id FROM chain WHERE writer = ?) ORDER BY id LIMIT ?",
            [self._writer, first, self._writer, MOST_NAMED],
        )
        return [call_id for (call_id,) in rows]
