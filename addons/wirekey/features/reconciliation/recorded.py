"""Reads from the audit log which tokens and costs were used, by day, model and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.audit.filters import first_id_at
from wirekey.features.reconciliation.usage import Group, UsedTokens

if TYPE_CHECKING:
    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.features.reconciliation.usage import Used

QUERY = """
SELECT substr(time, 1, 10), coalesce(model, requested_model, ''), coalesce(credential, ''), sum(input_tokens),
    sum(output_tokens), sum(cost_usd), count(*), sum(CASE WHEN input_tokens IS NULL THEN 1 ELSE 0 END)
FROM calls WHERE id >= ? AND id < ? AND provider = ? AND attempts > 0 AND operation NOT IN ('models.list', 'models')
GROUP BY 1, 2, 3
"""


def recorded(database: AuditReader, provider: str, since: float, until: float) -> list[Used]:
    """Return the usage of calls that were sent to a provider from `since` to before `until` (Unix seconds)."""
    rows = database.execute(QUERY, [first_id_at(since), first_id_at(until), provider])
    return [
        (
            Group(day, model, key),
            UsedTokens(into, out, None if cost is None else float(cost), int(calls), int(uncounted)),
        )
        for day, model, key, into, out, cost, calls, uncounted in rows
    ]
