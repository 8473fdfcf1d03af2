"""Computes the factor of a tier of service, a speed or a place, and the fees of a provider's tools. Pure.

`factor_of` is for a response, whose modifiers are known. `largest_factor` is for a request: the provider may serve it
in any way that it allows.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from wirekey.core.metering.price_table import ALIASES, DEFAULTS, FEES, ORDINARY, ROWS, UNSAID

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from wirekey.core.operation import Modifiers, ToolUses

LONGEST_TIER = 64
NO_FACTORS: Mapping[str, float] = {}
NO_DEFAULTS: Mapping[str, Collection[str]] = {}


def merged(requested: Modifiers, reported: Modifiers) -> Modifiers:
    """Return the modifiers of a response: those that it reports, and for the others those that were asked for."""
    if not requested or not reported:
        return requested or reported
    return tuple((dict(requested) | dict(reported)).items())


def factor_of(price_list: str, model: str, modifiers: Modifiers, own: Mapping[str, float] = NO_FACTORS) -> float | None:
    """Return the factor by which modifiers multiply the prices of a model, or None if one has no known price.

    `model`: its name on the price list. `own`: the operator's factors, by value.
    """
    factors = [one_factor(price_list, model, name, value, own) for name, value in modifiers]
    known = [factor for factor in factors if factor is not None]
    return math.prod(known) if len(known) == len(factors) else None


def one_factor(price_list: str, model: str, name: str, value: str, own: Mapping[str, float]) -> float | None:
    """Return the factor of one modifier, or None if it has no known price."""
    return _factor(price_list, model, name, spelled(name, value), own)


def largest_factor(
    price_list: str,
    model: str,
    modifiers: Modifiers,
    own: Mapping[str, float] = NO_FACTORS,
    defaults: Mapping[str, Collection[str]] = NO_DEFAULTS,
) -> float | None:
    """Return the largest factor that a request allows, or None if it asks for something without a known price.

    A request that leaves a modifier to the account may get the dearest default that an account can have. One that asks
    for a cheaper tier may get the ordinary one. Requests of a batch may name a modifier several times. `defaults`:
    modifier → the defaults that the account is known to have.
    """
    requested: dict[str, set[str]] = {name: {UNSAID} for listed, name in DEFAULTS if listed == price_list}
    for name, _ in modifiers:
        requested[name] = {spelled(name, value) for other, value in modifiers if other == name}
    product = 1.0
    for name, values in requested.items():
        factors = [_factor(price_list, model, name, value, own) for value in values]
        if UNSAID in values:
            possible = defaults.get(name, DEFAULTS.get((price_list, name), ()))
            given = (_factor(price_list, model, name, value, own) for value in possible)
            factors += [factor for factor in given if factor is not None]
        known = [factor for factor in factors if factor is not None]
        if len(known) < len(factors):
            return None
        product *= max([1.0, *known])
    return product


def spelled(name: str, value: str) -> str:
    """Return the value of a modifier in its one spelling."""
    plain = value.lower().removeprefix(f"{name}_")
    return ALIASES.get((name, plain), plain)


def is_left_open(name: str, requested: Modifiers) -> bool:
    """Return whether a request leaves a modifier to the account."""
    return all(other != name or spelled(name, value) == UNSAID for other, value in requested)


def is_ordinary(name: str, value: str) -> bool:
    """Return whether a value changes no price, or leaves the choice to the account."""
    return value == UNSAID or value in ORDINARY.get(name, ())


def tier_of(modifiers: Modifiers) -> str | None:
    """Return the modifiers of a call in one text, for records: `priority`, `fast`, `fast+us`, `default`.

    Those that change the price are joined by `+`. Without any, it is the tier that was named, or None.
    """
    if not modifiers:
        return None
    values = [(name, spelled(name, value)) for name, value in modifiers]
    found = "+".join(value for name, value in values if not is_ordinary(name, value))
    named = dict(values).get("service_tier")
    return (found or named or "")[:LONGEST_TIER] or None


def named_modifiers(modifiers: Modifiers) -> list[str]:
    """Return modifiers as `NAME=VALUE`, in their one spelling."""
    return [f"{name}={spelled(name, value)}" for name, value in modifiers]


def fees_of(price_list: str, used: ToolUses, requested: ToolUses, search_usd: float | None = None) -> float | None:
    """Return the fees of the tools that a response used, in US dollars, or None if one is unknown.

    Of tools whose uses responses do not report, as many count as the request allows. `search_usd`: the model's own
    price of a web search.
    """
    total = 0.0
    for tool, uses in (*used, *(each for each in requested if not _is_reported(price_list, each[0]))):
        usd = max((_fee(price_list, name, search_usd)[0] for name in _requested_as(tool, requested)), default=math.inf)
        if uses is None or usd == math.inf:
            return None
        total += uses * usd
    return total


def largest_fees(price_list: str, requested: ToolUses, search_usd: float | None = None) -> float | None:
    """Return the most that the tools of a request are expected to cost, or None if the fee of one is unknown.

    Of a tool without a limit, the number of uses in the table counts.
    """
    total = 0.0
    for tool, most in requested:
        usd, uses = _fee(price_list, tool, search_usd)
        if usd == math.inf:
            return None
        total += usd * (uses if most is None else most)
    return total


def _is_reported(price_list: str, tool: str) -> bool:
    """Return whether a response says how often it has used a tool. Of a tool without a known fee, that is not known."""
    return any(fee.price_list == price_list and fee.tool == tool and fee.is_reported for fee in FEES)


def _requested_as(tool: str, requested: ToolUses) -> Iterator[str]:
    """Yield the kinds of a tool that a request offers, such as web_search_preview, or the tool itself."""
    kinds = [name for name, _ in requested if name == tool or name.startswith(f"{tool}_")]
    yield from kinds or [tool]


def _fee(price_list: str, tool: str, search_usd: float | None) -> tuple[float, int]:
    found = next((fee for fee in FEES if fee.price_list == price_list and fee.tool == tool), None)
    if tool == "web_search" and search_usd is not None:
        return search_usd, found.uses if found else 1
    return (found.usd, found.uses) if found else (math.inf, 1)


def _factor(price_list: str, model: str, name: str, value: str, own: Mapping[str, float]) -> float | None:
    if value in own:
        return own[value]
    return 1.0 if is_ordinary(name, value) else _listed_factor(price_list, model, name, value)


@lru_cache(maxsize=1024)
def _listed_factor(price_list: str, model: str, name: str, value: str) -> float | None:
    for row in ROWS:
        if (row.price_list, row.modifier, row.value) == (price_list, name, value) and re.fullmatch(row.models, model):
            return row.factor
    return None
