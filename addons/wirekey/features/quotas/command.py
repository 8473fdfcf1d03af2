"""wirekey usage: what is spent of each budget, and what calls cost by agent, model or provider."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.moments import moment
from wirekey.cli.options import Grouping, with_config
from wirekey.cli.table import money, table, word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.config import Config
    from wirekey.core.audit.filters import Filters
    from wirekey.core.audit.sums import CallCounts, GroupBy
    from wirekey.features.quotas.definition import Quota
    from wirekey.features.quotas.ledger import Spent
    from wirekey.features.quotas.raises.record import RaiseRecord
    from wirekey.features.quotas.usage import Row

    type Spend = list[tuple[str | None, CallCounts]]
    """The name of an agent, a model, …, and the sums of its calls."""

QUOTA_HEAD = ("QUOTA", "PER", "OF", "LIMIT", "USED", "ALLOWED", "LEFT", "UNTIL")
SPEND_HEAD = ("CALLS", "DENIED", "IN", "OUT", "COST $")
MOST_GROUPS = 1000
ALL_TIME = 10**10
"""Seconds: a period that contains all calls."""


@click.group("usage", invoke_without_command=True)
@with_config
@click.option(
    "--per",
    type=Grouping(["agent", "role", "type", "model", "provider", "all"]),
    default="agent",
    show_default=True,
    help="Whose calls are added up.",
)
@click.option(
    "--since",
    callback=moment,
    default=None,
    help="Only calls since: 15m, 2h, 7d (ago) or a date. Default: the beginning of this month in UTC.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, config: Config, per: GroupBy, since: float | None, *, as_json: bool) -> None:
    """Show what is spent of each budget, and the cost of all calls by agent, role, type, model, provider or label."""
    from wirekey.features.quotas.configured import quotas_of
    from wirekey.features.quotas.raises.command import active_raises

    if context.invoked_subcommand:
        return
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    begin = month if since is None else datetime.fromtimestamp(since, UTC)
    quotas = quotas_of(config)
    raises = active_raises(config) if quotas else ()
    rows = budget_rows(config, quotas, raises)
    spend = spend_since(config, per, begin)
    if as_json:
        click.echo(json.dumps(usage_json(quotas, rows, spend, per=per, begin=begin), indent=2))
        return
    click.echo(budget_table(quotas, rows))
    for each in raises:
        click.echo(f"Raised: {each.words}")
    click.echo(f"\nSince {begin:%Y-%m-%d %H:%M} UTC:\n{spend_table(per, spend)}")


def budget_rows(config: Config, quotas: Sequence[Quota], raises: Sequence[RaiseRecord] = ()) -> list[Row]:
    """Return what is spent of each budget in its present period, the fullest first. Raises LedgerError, ConfigError.

    With `shared_state`, it is what all machines have spent, or this one alone if the server does not respond.
    """
    from wirekey.features.quotas.ledger import FILE, totals_in
    from wirekey.features.quotas.raises.record import raised_limits
    from wirekey.features.quotas.usage import UsageView

    totals = known_totals(config) if quotas else totals_in(config.state / FILE)
    view = UsageView(time.time)
    view.limits_in_force = lambda quota, subject: raised_limits(quota, subject, raises)
    view.restore(quotas, totals)
    return sorted(view.rows(quotas), key=lambda row: (row.ratio, row.quota, row.subject, row.limit))


def known_totals(config: Config, *, warns: bool = True) -> dict[str, Spent]:
    """Return what is spent of each budget, by key: by all machines, or by this one if no server responds."""
    from wirekey.features.quotas.ledger import FILE, Spent, totals_in

    totals = totals_in(config.state / FILE)
    for key, amount in shared_totals(config, warns=warns).items():
        # A server that was restarted empty lacks what a machine adds with its next call.
        known = totals.get(key, Spent(0, 0.0))
        totals[key] = Spent(max(amount, known.amount), known.ends)
    return totals


def shared_totals(config: Config, *, warns: bool) -> dict[str, int]:
    """Return what all machines have spent of each budget, by key. Empty if no server is configured.

    If it does not respond, a warning is printed, unless the caller asks again and again.
    """
    from wirekey.core.shared_state import SharedStateUnavailableError
    from wirekey.server.shared_state import remote_state

    async def read() -> dict[str, int]:
        state = remote_state(config)
        if state is None:
            return {}
        try:
            return await state.totals()
        finally:
            await state.close()

    try:
        return asyncio.run(read())
    except SharedStateUnavailableError as error:
        if warns:
            click.echo(f"wirekey: {error}. The budgets show only what this machine has spent.", err=True)
        return {}


def spend_since(config: Config, per: GroupBy, begin: datetime, filters: Filters | None = None) -> Spend:
    """Return the sums of the recorded calls by agent, model, …, those that cost most first. `filters`: fewer calls."""
    from wirekey.core.audit.totals import totals
    from wirekey.server.audit_store import audit_database

    record = audit_database(config)
    if not record.exists():
        return []
    found = totals(
        record,
        since=begin,
        until=datetime.now(UTC) + timedelta(days=1),
        bucket_seconds=ALL_TIME,
        by=None if per == "all" else per,
        filters=filters,
        max_groups=MOST_GROUPS,
    )
    if per == "all":
        return [("all", found.all.counts)]
    named: Spend = [(group.name, group.sums.counts) for group in found.groups]
    if found.other:
        named.append(("(others)", found.other.sums.counts))
    return sorted(named, key=lambda entry: -(entry[1].cost_usd or 0))


def usage_json(
    quotas: Sequence[Quota], rows: Sequence[Row], spend: Spend, *, per: str, begin: datetime
) -> dict[str, Any]:
    """Return quotas, budgets and the sums of calls as JSON values, amounts in US dollars."""
    from wirekey.features.quotas.listing import shown_limits, shown_overrides

    return {
        "quotas": [
            {"name": quota.name, "per": quota.per}
            | shown_limits(quota)
            | ({"overrides": overrides} if (overrides := shown_overrides(quota)) else {})
            for quota in quotas
        ],
        "budgets": [
            {
                "quota": row.quota,
                "per": row.per,
                "subject": row.subject,
                "limit": row.limit,
            }
            | amounts(row)
            | {"until": moment_text(row.ends)}
            for row in rows
        ],
        "per": per,
        "since": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
        "spend": [{"name": name} | asdict(counts) for name, counts in spend],
    }


def budget_table(quotas: Sequence[Quota], rows: Sequence[Row]) -> str:
    """Return the budgets as a table."""
    if not quotas:
        return "There are no quotas. Set them in the configuration: quotas."
    if not rows:
        return "Nothing is spent of any budget."
    cells = [
        (
            row.quota,
            row.per,
            row.subject,
            row.limit,
            cell(row, row.used),
            cell(row, row.allowed),
            f"{row.ratio:.0%}",
            moment_text(row.ends) or "",
        )
        for row in rows
    ]
    return table(QUOTA_HEAD, cells, right=(4, 5, 6))


def spend_table(per: str, spend: Spend) -> str:
    """Return the sums of calls as a table."""
    if not spend:
        return "No calls."
    cells = [
        (
            word(name),
            *map(word, (counts.calls, counts.denials, counts.input_tokens, counts.output_tokens)),
            money(counts.cost_usd),
        )
        for name, counts in spend
    ]
    return table((per.upper(), *SPEND_HEAD), cells, right=range(1, len(SPEND_HEAD) + 1))


def amounts(row: Row) -> dict[str, float]:
    """Return the amounts of a limit as JSON values, in US dollars if its members say so."""
    found = {"allowed": row.allowed, "spent": row.used, "remaining": row.remaining}
    return {f"{name}_usd": amount / row.unit for name, amount in found.items()} if row.unit > 1 else dict(found)


def cell(row: Row, amount: int) -> str:
    """Return an amount of a limit as a cell of the table."""
    return f"${money(amount / row.unit)}" if row.unit > 1 else f"{amount:,}"


def moment_text(timestamp: float | None) -> str | None:
    """Return Unix seconds as RFC 3339 in UTC."""
    return None if timestamp is None else f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}"
