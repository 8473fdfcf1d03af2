"""The use of a run in words, when its program has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import UNSET

from wirekey.features.quotas.refusals import dollars

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.identity.runs import RunRecord
    from wirekey.features.quotas.runs.used import RunUse

READ_EVERY = 0.3
"""More seconds than a proxy takes to write the use of a call that has ended."""
PATIENCE = 3.0


def settled_use(read: Callable[[], RunUse], sleep: Callable[[float], None] = time.sleep) -> RunUse:
    """Return the use of a run whose program has ended, once it no longer changes. Blocks."""
    latest = read()
    for _ in range(round(PATIENCE / READ_EVERY)):
        sleep(READ_EVERY)
        before, latest = latest, read()
        if latest == before:
            break
    return latest


def summary(run: RunRecord, use: RunUse) -> str:
    """Return what a run has used of its limits in one line."""
    used = (
        f"{use.calls:,}{of(run.calls)} calls",
        f"{use.tokens:,}{of(run.tokens)} tokens",
        f"{dollars(use.usd)}{'' if run.budget is UNSET else f' of {dollars(run.budget)}'}",
    )
    return f"the run {run.name} has used {', '.join(used)}"


def of(limit: object) -> str:
    """Return a limit of calls or tokens in words, or nothing."""
    return f" of {limit:,}" if isinstance(limit, int) else ""
