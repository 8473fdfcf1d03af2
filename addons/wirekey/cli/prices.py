"""wirekey prices: which price counts for a model, and which models were called without a price."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.moments import moment
from wirekey.cli.options import with_config
from wirekey.cli.table import table, word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.core.metering.price import Price, Prices

SHOWN = {
    "input": "INPUT",
    "cached": "CACHED",
    "cache_write": "WRITE",
    "long_cache_write": "WRITE 1H",
    "output": "OUTPUT",
    "audio_input": "AUDIO IN",
    "audio_output": "AUDIO OUT",
}
"""Price of tokens → its column."""


@click.group("prices")
def command() -> None:
    """Show prices of models, and models without one."""


@command.command("show")
@with_config
@click.argument("model")
@click.option("--provider", default=None, help="Only at this provider. Default: at all that have a price.")
@click.option("--region", default="", help="Region of Bedrock, or location of Google Cloud.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(config: Config, model: str, provider: str | None, region: str, *, as_json: bool) -> None:
    """Show which prices count for MODEL now, and where they come from. The exit code is 1 if it has none.

    Prices are in US dollars, those of tokens for a million of them.
    """
    found = list(prices_by_provider(config, model, provider, region))
    if as_json:
        click.echo(json.dumps([as_json_value(name, prices) for name, prices in found], indent=2))
    elif found:
        head = ("PROVIDER", "SOURCE", *SHOWN.values(), "REQUEST")
        rows = [
            (name, source(prices), *(written(getattr(prices, kind)) for kind in SHOWN), f"{prices.per_request:g}")
            for name, prices in found
        ]
        click.echo(table(head, rows, right=range(2, len(head))))
    else:
        click.echo(f"{model} has no price. Set one in the configuration: prices.models, or prices.default.", err=True)
    sys.exit(0 if found else 1)


@command.command("check")
@with_config
@click.option(
    "--since",
    callback=moment,
    default="30d",
    show_default=True,
    help="Only calls since: 15m, 2h, 7d (ago) or a date.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(config: Config, since: float, *, as_json: bool) -> None:
    """List models that were called without a price, and tiers without one. The exit code is 1 if there are any."""
    found = unpriced(config, since)
    rows = [
        {"provider": provider, "model": model, "service_tier": tier, "calls": calls}
        for (provider, model, tier), calls in found.most_common()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        head = ("PROVIDER", "MODEL", "TIER", "CALLS")
        click.echo(table(head, [tuple(map(word, row.values())) for row in rows], right=(3,)))
    else:
        click.echo("All calls with tokens have a price.")
    sys.exit(1 if rows else 0)


def unpriced(config: Config, since: float) -> Counter[tuple[str | None, str | None, str | None]]:
    """Return how often each provider, model and tier was called with tokens and without a known cost."""
    from wirekey.core.audit.filters import Filters
    from wirekey.core.audit.reading import events
    from wirekey.server.audit_store import audit_database

    found: Counter[Any] = Counter()
    record = audit_database(config)
    if not record.exists():
        return found
    with record.reading() as database:
        for event in events(database, Filters(since=since)):
            if event["cost_usd"] is None and event["input_tokens"] is not None:
                found[event["provider"], event["model"], event["service_tier"]] += 1
    return found


def prices_by_provider(config: Config, model: str, provider: str | None, region: str) -> Iterator[tuple[str, Prices]]:
    """Yield each provider with its prices of a model. Raises click.BadParameter for an unknown provider."""
    from wirekey.core.metering.cost import current_prices
    from wirekey.core.metering.own_prices import read_own_prices, use_own_prices
    from wirekey.core.routing.configured import use_configured_providers
    from wirekey.providers.registry import PROVIDERS

    use_configured_providers(config)
    use_own_prices(read_own_prices(config.own_prices, config.prices.default))
    if provider is not None and provider not in PROVIDERS:
        raise click.BadParameter(f"{provider!r} is not a provider. There are: {', '.join(PROVIDERS)}.")
    for name in [provider] if provider else list(PROVIDERS):
        if prices := current_prices(PROVIDERS[name], model, region):
            yield name, prices


def source(prices: Prices) -> str:
    """Return where prices come from: a setting, or the model of a price list."""
    return prices.source if prices.source != "list" else f"{prices.price_list}: {prices.model}"


def written(price: Price | None) -> str:
    """Return a price as the text of a cell, with the highest price of long requests after a slash."""
    if price is None:
        return "-"
    tiers = [f"{amount:g}" for _, amount in reversed(price.tiers)]
    return " / ".join([f"{price.base:g}", *tiers])


def as_json_value(name: str, prices: Prices) -> dict[str, Any]:
    """Return prices as JSON values."""
    kinds = {kind: asdict(price) if (price := getattr(prices, kind)) else None for kind in SHOWN}
    return {
        "provider": name,
        "source": source(prices),
        **kinds,
        "per_request": prices.per_request,
        "factors": dict(prices.factors),
    }
