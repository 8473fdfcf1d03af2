"""Backends whose accounts are chosen as keys are, and the fallback for calls whose accounts are all limited."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.model_name import ModelName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.routing.candidate import Candidate
    from wirekey.core.routing.plan import Attempt


def with_accounts(candidates: Sequence[Candidate], requested: str | None, *, fixed: bool) -> tuple[Candidate, ...]:
    """Return candidates whose backends have the accounts for their model, and the fallback of the first one.

    `requested`: the requested model. `fixed`: the policy demands this model, so there is no fallback.
    """
    if all(each.accounts is None for each in candidates):
        return tuple(candidates)
    found = [with_pool(each, each.model.name if each.model else requested or "") for each in candidates]
    first = candidates[0]
    fallback = first.accounts.fallback if first.accounts else None
    named = {each.model.name if each.model else requested for each in candidates}
    if fallback and fallback not in named and not fixed:
        parameters = first.model.parameters if first.model else ()
        found.append(
            with_pool(replace(first, model=ModelName(fallback, parameters=parameters), if_limited=True), fallback)
        )
    return tuple(found)


def with_pool(candidate: Candidate, model: str) -> Candidate:
    """Return a candidate with the accounts of its backend for a model, if it has any."""
    return replace(candidate, pool=candidate.accounts.pool(model)) if candidate.accounts else candidate


def check_account(attempt: Attempt, requested: str | None) -> None:
    """Raise Refusal if the first attempt at a backend has no account: 503 without any, 429 if all of them cool down."""
    candidate = attempt.candidate
    if candidate.accounts is None or attempt.key is not None:
        return
    if candidate.pool and candidate.pool.keys:
        raise candidate.accounts.all_limited(candidate.model.name if candidate.model else requested or "")
    raise candidate.accounts.no_account()
