"""Reads the audit file for the page, in a thread. Totals are computed at intervals, however many pages ask for them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.core.audit.filters import Filters
from wirekey.core.audit.reading import COLUMNS, shown
from wirekey.core.audit.totals import totals
from wirekey.core.errors import UserError
from wirekey.features.console.trees import Root, trees_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wirekey.core.audit.audit_log import AuditDatabase
    from wirekey.core.audit.rows import AuditRow
    from wirekey.core.audit.sums import CallGroup, Totals

RECENT = 200
DENIED = 20
LOOKED_THROUGH = 50_000
"""Number of latest calls that are searched for denials, because there is no index of them."""
THESE = 100
RECENT_CALLS = f"SELECT {COLUMNS} FROM calls ORDER BY id DESC LIMIT ?"  # noqa: S608  # of our own names
DENIED_CALLS = (
    f"SELECT {COLUMNS} FROM (SELECT * FROM calls ORDER BY id DESC LIMIT ?) AS latest"  # noqa: S608  # of our own names
    " WHERE outcome = 'denied' ORDER BY id DESC LIMIT ?"
)
PERIODS = {"hour": (3600, 60), "day": (86_400, 1800), "week": (7 * 86_400, 4 * 3600)}
"""Period → its length and that of a bucket, in seconds."""
KEPT = {"hour": 3.0, "day": 15.0, "week": 60.0}
"""Seconds for which the totals of a period are reused."""
TREES_KEPT = 1.0
"""Seconds for which the trees are reused."""
SHARE = 10
"""The trees are also reused for this multiple of the time that making them took."""

type Runs = Callable[[], Sequence[Mapping[str, Any]]]


class Recorded:
    """Queries of the page. For one event loop.

    If the audit file cannot be read, there are no calls, and /ready says why.
    """

    def __init__(self, database: AuditDatabase, runs: Runs = tuple) -> None:
        """Read from `database`. `runs` returns what is shown of each run; it blocks, and raises UserError."""
        self._database = database
        self._runs = runs
        self._trees: asyncio.Task[bytes] | None = None
        self._trees_until = 0.0
        self._sums: dict[tuple[str, str], tuple[float, asyncio.Task[bytes]]] = {}
        self._one_at_a_time = asyncio.Semaphore(1)

    async def recent(self) -> list[AuditRow]:
        """Return the latest calls, latest first, each as the values of an audit event."""
        return await asyncio.to_thread(self._read, RECENT_CALLS, [RECENT])

    async def denied(self) -> list[AuditRow]:
        """Return the last denials among the latest calls, latest first."""
        return await asyncio.to_thread(self._read, DENIED_CALLS, [LOOKED_THROUGH, DENIED])

    async def these(self, ids: Sequence[str]) -> list[AuditRow]:
        """Return the calls of these ids that exist, in any order."""
        wanted = list(ids[:THESE])
        places = ", ".join("?" * len(wanted))
        chosen = f"SELECT {COLUMNS} FROM calls WHERE id IN ({places})"  # noqa: S608  # values are bound
        return await asyncio.to_thread(self._read, chosen, wanted)

    async def labelled(self, agent: str | None, labels: Mapping[str, str]) -> list[AuditRow]:
        """Return the latest calls of an agent with these labels, latest first. At least one of them is indexed."""
        return await asyncio.to_thread(self._labelled, Filters(agent=agent, labels=tuple(labels.items())))

    def _labelled(self, filters: Filters) -> list[AuditRow]:
        try:
            with self._database.reading() as database:
                where, values = filters.where(database.dialect)
                chosen = f"SELECT {COLUMNS} FROM calls {where} ORDER BY id DESC LIMIT ?"  # noqa: S608  # values are bound
                return [tuple(map(shown, row)) for row in database.execute(chosen, [*values, RECENT]).fetchall()]
        except AuditDatabaseError:
            return []

    async def trees(self) -> bytes:
        """Return the trees of runs and sessions as JSON."""
        if self._trees is None or (self._trees.done() and time.monotonic() >= self._trees_until):
            self._trees = asyncio.create_task(self._make_trees())
        return await asyncio.shield(self._trees)

    async def _make_trees(self) -> bytes:
        async with self._one_at_a_time:
            began = time.monotonic()
            made = await asyncio.to_thread(self._drawn_trees)
            ended = time.monotonic()
            self._trees_until = ended + max(TREES_KEPT, SHARE * (ended - began))
            return made

    def _drawn_trees(self) -> bytes:
        try:
            runs = self._runs()
            roots = [Root("run", run["run"], run["agent"], datetime.fromisoformat(run["started"])) for run in runs]
            with self._database.reading() as database:
                found = trees_in(database, runs, roots)
        except UserError as error:
            return msgspec.json.encode({"readable": False, "reason": str(error)})
        return msgspec.json.encode({"readable": True, "trees": found, "now": time.time()})

    async def totals(self, period: str, by: str) -> bytes:
        """Return the totals of a period (see PERIODS) by `agent`, `model` or `provider`, as JSON."""
        now = time.monotonic()
        kept = self._sums.get((period, by))
        if kept is None or (kept[1].done() and now - kept[0] >= KEPT[period]):
            # A separate task, so that the first client can disconnect without cancelling it for the others.
            kept = (now, asyncio.create_task(self._sum_up(period, by)))
            self._sums[period, by] = kept
        return await asyncio.shield(kept[1])

    async def _sum_up(self, period: str, by: str) -> bytes:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._summed, period, by)

    def _summed(self, period: str, by: str) -> bytes:
        length, bucket = PERIODS[period]
        until = datetime.now(UTC)
        # From the start of a bucket, so that the first one is complete.
        start = int(until.timestamp() - length) // bucket * bucket + bucket
        since = datetime.fromtimestamp(start, UTC)
        wait = timedelta(seconds=1)
        try:
            found = totals(self._database, since=since, until=until + wait, bucket_seconds=bucket, by=by)
        except AuditDatabaseError:
            return msgspec.json.encode({"readable": False, "period": period, "by": by})
        return msgspec.json.encode({"readable": True, "period": period, "by": by, "bucket": bucket, **plain(found)})

    def _read(self, statement: str, values: Sequence[Any]) -> list[AuditRow]:
        try:
            with self._database.reading() as database:
                return [tuple(map(shown, row)) for row in database.execute(statement, values).fetchall()]
        except AuditDatabaseError:
            return []


def plain(found: Totals) -> dict[str, Any]:
    """Return totals in the form that the page draws."""
    return {
        "all": asdict(found.all),
        "buckets": [{"start": one.start.timestamp(), **asdict(one.sums)} for one in found.buckets],
        "groups": [plain_group(one) for one in found.groups],
        "other": plain_group(found.other) if found.other else None,
    }


def plain_group(group: CallGroup) -> dict[str, Any]:
    """Return a group in the form that the page draws."""
    return {"name": group.name, **asdict(group.sums), "buckets": [asdict(counts) for counts in group.buckets]}
