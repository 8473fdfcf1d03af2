"""Reads the hash chain of an audit file."""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from wirekey.core.audit import schema
from wirekey.core.audit.chain import LINKED_NAMES, LastLink
from wirekey.core.audit.reading import BOOLEANS
from wirekey.core.audit.verifying import LinkedEvent

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from wirekey.core.audit.event import EventValue

MOST_NAMED = 20
IDS_AT_ONCE = 500


class FileChain:
    """The chain of an audit file that is open for reading. All is read in one transaction."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'chain_head'").fetchone():
            raise schema.AuditFileError("The audit file has no hash chain yet. Wirekey adds one when it next starts.")
        database.execute("BEGIN")
        chain, seq, last = database.execute(schema.READ_HEAD).fetchone() or ("", 0, bytes(32))
        self.chain: str = chain
        self._head = LastLink(seq, last)

    def head(self) -> LastLink:
        """Return the last link that the file names."""
        return self._head

    def checkpoints(self) -> list[str]:
        """Return the checkpoints in the file, as they are stored."""
        rows = self._database.execute("SELECT document FROM checkpoints ORDER BY rowid")
        return [document for (document,) in rows]

    def linked(self, after: int) -> Iterable[LinkedEvent]:
        """Yield the links with a number above `after`, in order."""
        # One query for each kind, so that no column is read that its links do not cover.
        return heapq.merge(*(self._of_kind(kind, after) for kind in LINKED_NAMES), key=itemgetter(0))

    def _of_kind(self, kind: str, after: int) -> Iterator[LinkedEvent]:
        names = LINKED_NAMES[kind]
        booleans = [place for place, name in enumerate(names) if name in BOOLEANS]
        with_attempts = "EXISTS (SELECT 1 FROM attempts WHERE call_id = chain.id)" if kind == "outcome" else "0"
        rows = self._database.execute(
            f"SELECT chain.seq, chain.id, chain.hash, {with_attempts}, {', '.join(f'calls.{name}' for name in names)}"  # noqa: S608  # of our own names
            " FROM chain LEFT JOIN calls ON calls.id = chain.id WHERE chain.kind = ? AND chain.seq > ?"
            " ORDER BY chain.seq",
            [kind, after],
        )
        for seq, call_id, stored, tried_again, *values in rows:
            if values[0] is None:
                yield LinkedEvent(seq, kind, call_id, stored, None)
                continue
            for place in booleans:
                if values[place] is not None:
                    values[place] = values[place] != 0
            attempts = self._attempts(call_id) if tried_again else ()
            yield LinkedEvent(seq, kind, call_id, stored, values, attempts)

    def _attempts(self, call_id: str) -> list[tuple[Any, ...]]:
        return self._database.execute(schema.ATTEMPTS_OF, [call_id]).fetchall()

    def outcomes(self, ids: Iterable[str]) -> Mapping[str, EventValue]:
        """Return the outcomes of these calls."""
        asked = list(ids)
        found: dict[str, EventValue] = {}
        for start in range(0, len(asked), IDS_AT_ONCE):
            some = asked[start : start + IDS_AT_ONCE]
            places = ", ".join("?" * len(some))
            found.update(self._database.execute(f"SELECT id, outcome FROM calls WHERE id IN ({places})", some))  # noqa: S608  # values are bound
        return found

    def count(self, first: str, end: str | None = None) -> int:
        """Return the number of calls with ids from `first` until before `end`."""
        rows = self._database.execute("SELECT count(*) FROM calls WHERE id >= ? AND id < ?", [first, end or "~"])
        return int(rows.fetchone()[0])

    def unlinked(self, first: str) -> list[str]:
        """Return the first calls from this id on that have no link."""
        rows = self._database.execute(
            "SELECT id FROM calls WHERE id >= ? AND id NOT IN (SELECT id FROM chain) ORDER BY id LIMIT ?",
            [first, MOST_NAMED],
        )
        return [call_id for (call_id,) in rows]
