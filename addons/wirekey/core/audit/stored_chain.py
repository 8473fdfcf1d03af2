"""Reads the hash chain of a writer in an audit log."""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.chain import LINKED_NAMES, LinkedEvent
from wirekey.core.audit.reading import BOOLEANS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.core.audit.chain import LastLink
    from wirekey.core.audit.event import EventValue

MOST_NAMED = 20
IDS_AT_ONCE = 500


class StoredChain:
    """The chain of one writer, by its number. All is read in the transaction of `database`.

    `checkpoints` returns the checkpoints of a chain, as they are stored.
    """

    def __init__(
        self,
        database: AuditReader,
        writer: int,
        chain: str,
        head: LastLink,
        checkpoints: Callable[[str], list[tuple[int, str]]],
    ) -> None:
        self._database, self._head, self._checkpoints = database, head, checkpoints
        self._where, self._writer = f"WHERE {database.writer} = ?", writer
        self.chain = chain

    def head(self) -> LastLink:
        """Return the last link that the database names."""
        return self._head

    def checkpoints(self) -> list[tuple[int, str]]:
        """Return the checkpoints in the database: the number of the link under which each is stored, and its JSON."""
        return self._checkpoints(self.chain)

    def linked(self, after: int) -> Iterable[LinkedEvent]:
        """Yield the links with a number above `after`, in order."""
        # One query for each kind, so that no column is read that its links do not cover.
        return heapq.merge(*(self._of_kind(kind, after) for kind in LINKED_NAMES), key=itemgetter(0))

    def _of_kind(self, kind: str, after: int) -> Iterator[LinkedEvent]:
        names = LINKED_NAMES[kind]
        booleans = [place for place, name in enumerate(names) if name in BOOLEANS]
        with_attempts = "EXISTS (SELECT 1 FROM attempts WHERE call_id = chain.id)" if kind == "outcome" else "1 = 0"
        rows = self._database.execute(
            f"SELECT chain.seq, chain.id, chain.hash, {with_attempts}, {', '.join(f'calls.{name}' for name in names)}"  # noqa: S608  # of our own names
            f" FROM (SELECT * FROM chain {self._where}) AS chain LEFT JOIN calls ON calls.id = chain.id"
            " WHERE chain.kind = ? AND chain.seq > ? ORDER BY chain.seq",
            [self._writer, kind, after],
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
        return self._database.execute("SELECT * FROM attempts WHERE call_id = ? ORDER BY number", [call_id]).fetchall()

    def outcomes(self, ids: Iterable[str]) -> Mapping[str, EventValue]:
        """Return the outcomes of these calls."""
        wanted = list(ids)
        found: dict[str, EventValue] = {}
        for start in range(0, len(wanted), IDS_AT_ONCE):
            some = wanted[start : start + IDS_AT_ONCE]
            places = ", ".join("?" * len(some))
            found.update(self._database.execute(f"SELECT id, outcome FROM calls WHERE id IN ({places})", some))  # noqa: S608  # values are bound
        return found

    def count(self, first: str, end: str | None = None) -> int:
        """Return the number of calls of this writer with ids from `first` until before `end`."""
        rows = self._database.execute(
            f"SELECT count(*) FROM calls {self._where} AND id >= ? AND id < ?",  # noqa: S608  # values are bound
            [self._writer, first, end or "~"],
        )
        return int(rows.fetchone()[0])

    def unlinked(self, first: str) -> list[str]:
        """Return the first calls of this writer from this id on that have no link."""
        rows = self._database.execute(
            f"SELECT id FROM calls {self._where} AND id >= ? AND id NOT IN (SELECT id FROM chain {self._where})"  # noqa: S608  # values are bound
            " ORDER BY id LIMIT ?",
            [self._writer, first, self._writer, MOST_NAMED],
        )
        return [call_id for (call_id,) in rows]
