"""Reads from the audit log how much output the last calls had, so that estimates continue after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.audit.filters import Filters
from wirekey.core.call import Outcome
from wirekey.features.quotas.expected_output import CallKind, Output

if TYPE_CHECKING:
    from wirekey.core.audit.audit_log import AuditDatabase

MOST_CALLS = 5000
SINCE = 7 * 86400.0
"""Seconds before now: calls that are older say little of the next ones."""
COLUMNS = "agent_id, model, operation, output_tokens, reasoning_tokens"


def recorded_output(database: AuditDatabase, now: float) -> list[tuple[CallKind, Output]]:
    """Return the output of the last calls, oldest first. Blocks: run it in a thread. Raises AuditDatabaseError."""
    if not database.exists():
        return []
    with database.reading() as reader:
        where, values = Filters(since=now - SINCE, outcome=Outcome.COMPLETED).where(reader.dialect)
        statement = f"SELECT {COLUMNS} FROM calls {where} AND output_tokens > 0 ORDER BY id DESC LIMIT ?"  # noqa: S608  # values are bound
        rows = reader.execute(statement, [*values, MOST_CALLS]).fetchall()
    return [
        (CallKind(agent or "", model or "", operation or ""), Output(max(0, output - (hidden or 0)), hidden or 0))
        for agent, model, operation, output, hidden in reversed(rows)
    ]
