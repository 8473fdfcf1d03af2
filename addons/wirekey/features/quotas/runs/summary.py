"""The use of a run in words, in all and by model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import UNSET

from wirekey.features.quotas.refusals import counted, dollars

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.identity.runs import RunRecord
    from wirekey.features.quotas.command import Spend
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
        of_limit(use.calls, run.calls, "calls"),
        of_limit(use.tokens, run.tokens, "tokens"),
        f"{dollars(use.usd)}{'' if run.budget is UNSET else f' of {dollars(run.budget)}'}",
    )
    return f"the run {run.name} has used {', '.join(used)}"


def lines_of_models(used: Spend) -> list[str]:
    """Return a line for each model: its calls, those that were refused, its tokens and its cost."""
    return [
        f"{name or 'no model'}: {counted(counts.calls, 'calls')}, {counts.denials:,} refused, "
        f"{counts.input_tokens or 0:,} tokens in, "
        f"{counts.output_tokens or 0:,} out, ${counts.cost_usd or 0:.4f}"
        for name, counts in used
    ]


def of_limit(amount: int, limit: object, nouns: str) -> str:
    """Return what is used of a limit of calls or tokens, such as `3 of 9 calls`, or `3 calls` without a limit."""
    return f"{amount:,} of {limit:,} {nouns}" if isinstance(limit, int) else counted(amount, nouns)
