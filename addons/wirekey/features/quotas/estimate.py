"""The largest use of a call that has not been sent: what is reserved until its real use is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wirekey.core.operation import Kind
from wirekey.features.quotas.definition import NANODOLLARS
from wirekey.providers.context_windows import context_window
from wirekey.providers.formats import COUNTS, HTTP_INSTEAD
from wirekey.providers.output_limits import UNKNOWN, output_limit
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.metering.price import Prices
    from wirekey.core.operation import Facts, Operation, Usage

FREE = frozenset((*COUNTS, *HTTP_INSTEAD, *(name for each in PROVIDERS.values() for name in each.prices.free)))
"""Operations without tokens that are paid for."""
BATCHES = frozenset(name for each in PROVIDERS.values() if each.batches for name in each.batches.creates)
"""Operations that make a batch."""
BYTES_PER_TOKEN = 3
"""Fewer than English text and JSON have, so that the estimate is not too low."""
LONGEST_EXPECTED = 4096
"""Tokens of output, and of input that is not in the request, that a limit per minute reserves at most. A longer
response or input is charged when the call ends."""

MOST_CHOICES = 128
"""OpenAI's limit of `n`. A larger number is refused by the provider, and must not reserve a whole budget."""


@dataclass(frozen=True, slots=True)
class Use:
    """The tokens and the cost of a call, in billionths of a dollar. A cost of None means that the price is unknown.

    `tokens`: those that limits per minute count. `all_tokens`: those that totals count, at most.
    """

    tokens: int = 0
    cost: int | None = 0
    all_tokens: int = 0


NOTHING = Use()
A_BATCH = Use(0, 1, 1)
"""The use of a call that makes a batch: the least that a budget which is used up refuses. It is given back, as the cost
of the batch is charged when its results are read."""


@dataclass(frozen=True, slots=True)
class EstimatedRequest:
    """The parts of a request that its largest use depends on."""

    operation: Operation
    facts: Facts | None
    model: str | None
    """The model that is sent."""
    body_bytes: int
    cap: int | None = None
    """The limit of output tokens that the policy or the route sets."""
    context_tokens: int = 0
    """Tokens of a conversation that is not in the request, at most."""


def generates(operation: Operation) -> bool:
    """Return whether an operation uses tokens that are paid for. Counting them is free, and so is a connection."""
    return operation.kind is Kind.INFERENCE and operation.name not in FREE


def largest_use(request: EstimatedRequest, prices: Prices | None, most_output: int | None = None) -> Use:
    """Return the largest use of a call. `prices`: those of the model that is sent, None if it has no list price.

    `most_output`: the most tokens of output that count, of those that the response may have.
    """
    if request.operation.name in BATCHES:
        return A_BATCH if prices is not None or request.model is None else replace(A_BATCH, cost=None)
    if not generates(request.operation):
        return NOTHING
    window = context_window(request.model or "", prices.context if prices else None)
    inside = min(request.body_bytes // BYTES_PER_TOKEN + 1 + request.context_tokens, window)
    refers = request.facts is not None and request.facts.reads_elsewhere
    read = window if refers else inside
    is_inside = not refers and not request.context_tokens
    written = largest_output(request)
    if most_output is not None:
        written = min(written, most_output)
    tokens = min(read, inside + LONGEST_EXPECTED) + min(written, LONGEST_EXPECTED)
    if prices is None:
        return Use(tokens, None, read + written)
    return Use(tokens, nanodollars(largest_cost(prices, read, written, is_inside=is_inside)), read + written)


def dearest(uses: Sequence[Use]) -> Use:
    """Return the largest of several uses, of which one will be real. Its cost is None if one of them is unknown."""
    costs = [use.cost for use in uses if use.cost is not None]
    cost = max(costs) if len(costs) == len(uses) else None
    return Use(max(use.tokens for use in uses), cost, max(use.all_tokens for use in uses))


def largest_output(request: EstimatedRequest) -> int:
    """Return the most tokens that a response can have, in all its choices. A limit of 0 does not count."""
    facts = request.facts
    limits = [limit for limit in (facts.max_tokens if facts else None, request.cap) if limit is not None and limit > 0]
    most = min([*limits, UNKNOWN]) if limits else output_limit(request.model or "")
    choices = (facts.choices if facts else None) or 1
    return most * max(1, min(choices, MOST_CHOICES))


def largest_cost(prices: Prices, read: int, written: int, *, is_inside: bool = True) -> float:
    """Return the largest cost of these tokens in US dollars. Tokens that are written to a cache may cost more.

    `is_inside`: whether all input is in the request. Otherwise it may be audio, an image or a video, which have prices
    of their own.
    """
    others = () if is_inside else (prices.audio_input, prices.image_input, prices.video_input)
    kinds = (prices.input, prices.cache_write, *others)
    inputs = [price.of(read, read) for price in kinds if price is not None]
    output = prices.output.of(written, read) if prices.output is not None else 0.0
    return max(inputs, default=0.0) + output + prices.per_request


def nanodollars(cost: float) -> int:
    """Return US dollars in billionths, rounded up."""
    return -int(-cost * NANODOLLARS // 1)


def real_use(  # what is known of an attempt, in the order of a response
    reserved: Use,
    operation: Operation,
    status: int | None,
    usage: Usage | None,
    cost: float | None,
    *,
    is_final: bool = True,
) -> Use:
    """Return the use of an attempt that was sent. Unknown use counts as it was reserved.

    `status` is that of the provider's response, None without a response; `cost` is in US dollars. A provider charges
    nothing for an error. `is_final`: whether the provider had counted all when it reported `usage`. Counts from the
    middle of a response raise what was reserved, and never lower it.
    """
    if status is not None and status >= 400:
        return NOTHING
    if not generates(operation):
        return NOTHING
    tokens, counted = reserved.tokens, reserved.all_tokens
    if usage is not None and usage.input_tokens is not None:
        is_complete = usage.output_tokens is not None or cost is not None
        if is_complete:
            tokens = counted = usage.input_tokens + (usage.output_tokens or 0)
    charged = reserved.cost if cost is None else nanodollars(cost)
    if is_final:
        return Use(tokens, charged, counted)
    costs = (amount for amount in (charged, reserved.cost) if amount is not None)
    return Use(max(tokens, reserved.tokens), max(costs, default=None), max(counted, reserved.all_tokens))
