"""What the page reads of the audit file: in a thread, and sums only once in a while, however many pages ask."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec

from wirekey.audit.schema import AuditFileError, open_for_reading
from wirekey.audit.totals import totals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wirekey.audit.file import AuditRow
    from wirekey.audit.totals import CallGroup, GroupBy, Totals

RECENT = 200
DENIED = 20
LOOKED_THROUGH = 50_000
"""The latest calls among which denials are looked for: there is no index of them."""
THESE = 100
PERIODS = {"hour": (3600, 60), "day": (86_400, 1800), "week": (7 * 86_400, 4 * 3600)}
"""Period → its seconds, and those of a bucket."""
KEPT = {"hour": 3.0, "day": 15.0, "week": 60.0}
"""Seconds for which the sums of a period are given out again."""


class Recorded:
    """For one event loop. Where the audit file cannot be read, there are no calls; /ready says why."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sums: dict[tuple[str, str], tuple[float, asyncio.Task[bytes]]] = {}
        self._one_at_a_time = asyncio.Semaphore(1)

    async def recent(self) -> list[AuditRow]:
        """Give the last calls, the latest first, each as the values of an audit event."""
        return await asyncio.to_thread(self._read, "SELECT * FROM calls ORDER BY rowid DESC LIMIT ?", [RECENT])

    async def denied(self) -> list[AuditRow]:
        """Give the last denials among the latest calls, the latest first."""
        return await asyncio.to_thread(
            self._read,
            "SELECT * FROM calls WHERE rowid > (SELECT max(rowid) FROM calls) - ? AND policy_result = 'deny'"
            " ORDER BY rowid DESC LIMIT ?",
            [LOOKED_THROUGH, DENIED],
        )

    async def these(self, ids: Sequence[str]) -> list[AuditRow]:
        """Give the calls of these ids, in no order; those that there are."""
        asked = list(ids[:THESE])
        places = ", ".join("?" * len(asked))
        return await asyncio.to_thread(self._read, f"SELECT * FROM calls WHERE id IN ({places})", asked)  # noqa: S608  # values are bound

    async def totals(self, period: str, by: str) -> bytes:
        """Give the sums of a period (see PERIODS) by `agent`, `model` or `provider`, as JSON."""
        now = time.monotonic()
        kept = self._sums.get((period, by))
        if kept is None or (kept[1].done() and now - kept[0] >= KEPT[period]):
            # A task of its own: who asked first may go away, and the others still want it.
            kept = (now, asyncio.create_task(self._sum_up(period, by)))
            self._sums[period, by] = kept
        return await asyncio.shield(kept[1])

    async def _sum_up(self, period: str, by: str) -> bytes:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._summed, period, by)

    def _summed(self, period: str, by: str) -> bytes:
        length, bucket = PERIODS[period]
        until = datetime.now(UTC)
        # From the beginning of a bucket on, so that the first one is no stump.
        start = int(until.timestamp() - length) // bucket * bucket + bucket
        since = datetime.fromtimestamp(start, UTC)
        wait = timedelta(seconds=1)
        try:
            found = totals(self._path, since=since, until=until + wait, bucket_seconds=bucket, by=cast("GroupBy", by))
        except (AuditFileError, sqlite3.Error):
            return msgspec.json.encode({"readable": False, "period": period, "by": by})
        return msgspec.json.encode({"readable": True, "period": period, "by": by, "bucket": bucket, **plain(found)})

    def _read(self, statement: str, values: Sequence[Any]) -> list[AuditRow]:
        try:
            with contextlib.closing(open_for_reading(self._path)) as database:
                return database.execute(statement, values).fetchall()
        except (AuditFileError, sqlite3.Error):
            return []


def plain(found: Totals) -> dict[str, Any]:
    """Give sums as the page draws them."""
    return {
        "all": asdict(found.all),
        "buckets": [{"start": one.start.timestamp(), **asdict(one.sums)} for one in found.buckets],
        "groups": [plain_group(one) for one in found.groups],
        "other": plain_group(found.other) if found.other else None,
    }


def plain_group(group: CallGroup) -> dict[str, Any]:
    return {"name": group.name, **asdict(group.sums), "buckets": [asdict(counts) for counts in group.buckets]}
