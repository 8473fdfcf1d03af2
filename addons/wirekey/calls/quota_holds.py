"""Holds the use of each attempt of a call in its quotas, and settles it when the attempt ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.call import FailureKind
from wirekey.calls.account_defaults import known_defaults
from wirekey.metering.cost import current_prices
from wirekey.metering.modifiers import NO_DEFAULTS
from wirekey.metering.reserved import carried_facts, reserved_prices
from wirekey.providers import PROVIDERS
from wirekey.providers.other_models import priced_models
from wirekey.providers.places import place_of
from wirekey.quotas.estimate import NOTHING, EstimatedRequest, Use, dearest, largest_use, real_use
from wirekey.quotas.hold import Hold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping

    from wirekey.calls.services import Services
    from wirekey.calls.state import CallState
    from wirekey.providers.protocol import Provider
    from wirekey.quotas.enforcement import QuotaEnforcer
    from wirekey.routing.candidate import Candidate
    from wirekey.routing.plan import Failure

NOT_PROCESSED = frozenset({FailureKind.STATUS, FailureKind.STALE, FailureKind.UNPROCESSED})
"""Failures after which a provider charges nothing."""


def hold_first_attempt(services: Services, state: CallState, candidate: Candidate) -> Awaitable[None] | None:
    """Hold the largest use of the first attempt of a call in its quotas.

    Return None, or what remains to be awaited if other processes share the state. Raises Refusal if one is exhausted.
    """
    state.hold = new_hold(state, candidate, 1)
    return services.quotas.acquire(state.hold)


def hold_next_attempt(
    services: Services, state: CallState, candidate: Candidate, failure: Failure
) -> Awaitable[None] | None:
    """Settle the attempt of a call that failed, and hold the largest use of the next one.

    Return None, or what remains to be awaited if other processes share the state. Raises Refusal if a quota is
    exhausted; the call then holds nothing.
    """
    failed = state.hold
    if failed is None:
        return None
    state.hold = new_hold(state, candidate, failed.number + 1)
    used = NOTHING if failure.kind in NOT_PROCESSED else failed.use
    return services.quotas.exchange(failed, used if failed.sent else None, state.hold)


def new_hold(state: CallState, candidate: Candidate, number: int) -> Hold:
    """Return the hold of an attempt, with its largest use. `number`: 1 for the first."""
    call = state.call
    assert call.operation
    model, cap = call.facts.model if call.facts else None, state.cap
    if candidate.model:
        model = candidate.model.name
        limits = [int(value) for name, value in candidate.model.parameters if name == "max_tokens"]
        cap = min([*limits, *([] if cap is None else [cap])], default=None)
    request = EstimatedRequest(call.operation, call.facts, model, len(state.body), cap)
    translated = candidate.speaks is not None
    provider = PROVIDERS[candidate.provider]
    place = candidate.region or candidate.location or place_of(provider, state.host)
    use = dearest_use(request, provider, place, known_defaults(candidate.pool), translated=translated)
    if candidate.code_assist and not candidate.code_assist.settings.is_billed:
        use = replace(use, cost=0)
    return Hold(f"{call.id}/{number}", state.quotas, model, use, number=number)


def dearest_use(
    request: EstimatedRequest,
    provider: Provider,
    place: str,
    defaults: Mapping[str, Collection[str]] = NO_DEFAULTS,
    *,
    translated: bool = False,
) -> Use:
    """Return the largest use of a request by the dearest model that it names, at the dearest prices that it allows.

    The cost is None if one of these models has no known price. `place`: the provider's region or location.
    `translated`: whether the request will be translated, which leaves out what the upstream does not have, such as
    other models. `defaults`: what the account is known to give to requests that leave a modifier open.
    """
    others = priced_models(request.facts.other_models) if request.facts and not translated else ()
    uses = []
    for model in (request.model, *others):
        prices = current_prices(provider, model, place)
        facts = carried_facts(request.facts, prices) if translated else request.facts
        uses.append(largest_use(replace(request, model=model), reserved_prices(prices, facts, defaults)))
    return uses[0] if len(uses) == 1 else dearest(uses)


def settle_hold(quotas: QuotaEnforcer, state: CallState) -> None:
    """Settle the last attempt of a call that has ended, once."""
    hold, state.hold = state.hold, None
    if hold is None:
        return
    if not hold.sent:
        quotas.settle(hold, None)
        return
    call = state.call
    assert call.operation
    status = None if call.refusal_code else call.status
    used = real_use(hold.use, call.operation, status, call.usage, call.cost_usd, is_final=state.has_all_counts)
    quotas.settle(hold, used)
