"""The largest use of an attempt of a call, and of a response of an open connection, to be held in its quotas."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.metering.cost import current_prices
from wirekey.core.metering.modifiers import NO_DEFAULTS
from wirekey.features.quotas.account_defaults import known_defaults
from wirekey.features.quotas.estimate import EstimatedRequest, Use, dearest, generates, largest_output, largest_use
from wirekey.features.quotas.expected_output import CallKind
from wirekey.features.quotas.growth import Growth
from wirekey.features.quotas.hold import Hold
from wirekey.features.quotas.reserved import carried_facts, reserved_prices
from wirekey.providers.other_models import priced_models
from wirekey.providers.places import place_of
from wirekey.providers.reasoning import most_reasoning
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from wirekey.core.calls.state import CallState
    from wirekey.core.routing.candidate import Candidate
    from wirekey.features.quotas.definition import Applied
    from wirekey.features.quotas.expected_output import OutputEstimates
    from wirekey.providers.protocol import Provider


def hold_of_attempt(
    state: CallState, quotas: tuple[Applied, ...], candidate: Candidate, number: int, estimates: OutputEstimates
) -> Hold:
    """Return the hold of an attempt, with its largest use. `number`: 1 for the first.

    `estimates`: the output of earlier calls, for quotas with `reserve: expected`.
    """
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
    defaults = known_defaults(candidate.pool)

    def use_of(most_output: int | None = None) -> Use:
        use = dearest_use(request, provider, place, defaults, translated=translated, most_output=most_output)
        return use if candidate.is_billed else replace(use, cost=0)

    hold = Hold(f"{call.id}/{number}", quotas, model, use_of(), number=number)
    if any(applied.quota.reserves_expected for applied in quotas) and generates(call.operation):
        kind = CallKind(call.agent.id if call.agent else "", model or "", call.operation.name)
        hold.growth = growth_of(kind, request, use_of, estimates)
    return hold


def growth_of(
    kind: CallKind, request: EstimatedRequest, use_of: Callable[[int], Use], estimates: OutputEstimates
) -> Growth:
    """Return what a call is expected to use."""
    others = priced_models(request.facts.other_models) if request.facts else ()
    most = max(largest_output(replace(request, model=model)) for model in (request.model, *others))
    output = estimates.expected(kind)
    stated = most_reasoning(request.facts.reasoning, most) if request.facts else None
    hidden = output.hidden if stated is None else stated
    tokens = min(most, output.shown + hidden)
    return Growth(kind, use_of, most, hidden, tokens, use_of(tokens))


def hold_of_response(state: CallState, quotas: tuple[Applied, ...], known: int, cap: int | None, context: int) -> Hold:
    """Return the hold of a response of an open connection, with its largest use. See `UsageLimits.reserve_response`."""
    call = state.call
    assert call.operation
    assert call.provider
    request = EstimatedRequest(call.operation, call.facts, call.model, known, cap, context)
    provider = PROVIDERS[call.upstream_provider or call.provider]
    use = dearest_use(request, provider, place_of(provider, call.upstream))
    return Hold(f"{call.id}/1", quotas, call.model, use)


def dearest_use(
    request: EstimatedRequest,
    provider: Provider,
    place: str,
    defaults: Mapping[str, Collection[str]] = NO_DEFAULTS,
    *,
    translated: bool = False,
    most_output: int | None = None,
) -> Use:
    """Return the largest use of a request by the dearest model that it names, at the dearest prices that it allows.

    The cost is None if one of these models has no known price. `place`: the provider's region or location.
    `translated`: whether the request will be translated, which leaves out what the upstream does not have, such as
    other models. `defaults`: what the account is known to give to requests that leave a modifier open. `most_output`:
    as in `largest_use`.
    """
    others = priced_models(request.facts.other_models) if request.facts and not translated else ()
    uses = []
    for model in (request.model, *others):
        prices = current_prices(provider, model, place)
        facts = carried_facts(request.facts, prices) if translated else request.facts
        uses.append(largest_use(replace(request, model=model), reserved_prices(prices, facts, defaults), most_output))
    return uses[0] if len(uses) == 1 else dearest(uses)
