"""The largest use of a call that has not been sent: what is reserved until its real use is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.operation import CONNECTIONS, CONVERSATIONS, FORMAT_OF, OTHER_COUNTS, Kind
from wirekey.providers.output_limits import UNKNOWN, output_limit
from wirekey.quotas.definition import NANODOLLARS

if TYPE_CHECKING:
    from wirekey.metering.cost import Prices
    from wirekey.operation import Facts, Operation, Usage

BYTES_PER_TOKEN = 3
"""Fewer than English text and JSON have, so that the estimate is not too low."""
LONGEST_EXPECTED_OUTPUT = 4096
"""Output tokens that a limit per minute reserves at most. A longer response is charged when it ends."""

MOST_CHOICES = 128
"""OpenAI's limit of `n`. A larger number is refused by the provider, and must not reserve a whole budget."""


@dataclass(frozen=True, slots=True)
class Use:
    """The tokens and the cost of a call, in billionths of a dollar. A cost of None means that the price is unknown."""

    tokens: int = 0
    cost: int | None = 0


NOTHING = Use()


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


def generates(operation: Operation) -> bool:
    """Return whether an operation uses tokens that are paid for. Counting them is free, and so is a connection."""
    if operation.name in CONNECTIONS:
        return False
    counts = operation.name in OTHER_COUNTS or (operation.name in FORMAT_OF and operation.name not in CONVERSATIONS)
    return operation.kind is Kind.INFERENCE and (not counts or operation.name == "responses.compact")


def largest_use(request: EstimatedRequest, prices: Prices | None) -> Use:
    """Return the largest use of a call. `prices`: those of the model that is sent, None if it has no list price."""
    if not generates(request.operation):
        return NOTHING
    context = prices.context if prices else None
    read = request.body_bytes // BYTES_PER_TOKEN + 1
    if context is not None:
        read = min(read, context)
    written = largest_output(request)
    tokens = read + min(written, LONGEST_EXPECTED_OUTPUT)
    if prices is None:
        return Use(tokens, None)
    return Use(tokens, nanodollars(largest_cost(prices, read, written)))


def largest_output(request: EstimatedRequest) -> int:
    """Return the most tokens that a response can have, in all its choices."""
    facts = request.facts
    asked = [limit for limit in (facts.max_tokens if facts else None, request.cap) if limit is not None and limit >= 0]
    most = min([*asked, UNKNOWN]) if asked else output_limit(request.model or "")
    choices = (facts.choices if facts else None) or 1
    return most * max(1, min(choices, MOST_CHOICES))


def largest_cost(prices: Prices, read: int, written: int) -> float:
    """Return the cost in US dollars of so many tokens. Tokens that are written to a cache may cost more than others."""
    inputs = [price.of(read, read) for price in (prices.input, prices.cache_write) if price is not None]
    output = prices.output.of(written, read) if prices.output is not None else 0.0
    return max(inputs, default=0.0) + output


def nanodollars(cost: float) -> int:
    """Return US dollars in billionths, rounded up."""
    return -int(-cost * NANODOLLARS // 1)


def real_use(reserved: Use, operation: Operation, status: int | None, usage: Usage | None, cost: float | None) -> Use:
    """Return the use of an attempt that was sent. Unknown use counts as it was reserved.

    `status` is that of the provider's response, None without a response; `cost` is in US dollars. A provider charges
    nothing for an error.
    """
    if status is not None and status >= 400:
        return NOTHING
    if not generates(operation):
        return NOTHING
    tokens = reserved.tokens
    if usage is not None and usage.input_tokens is not None:
        is_complete = usage.output_tokens is not None or cost is not None
        tokens = usage.input_tokens + (usage.output_tokens or 0) if is_complete else tokens
    return Use(tokens, reserved.cost if cost is None else nanodollars(cost))
