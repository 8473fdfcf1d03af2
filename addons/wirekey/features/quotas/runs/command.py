"""wirekey runs: start, list, show, extend and stop runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from wirekey.cli.agents import minute
from wirekey.cli.options import as_json_option, with_config
from wirekey.cli.table import table
from wirekey.core.command_name import COMMAND
from wirekey.core.identity.runs import LONGEST
from wirekey.core.identity.stored_runs import NewRun, StoredRuns
from wirekey.features.quotas.definition import NANODOLLARS
from wirekey.features.quotas.refusals import dollars
from wirekey.features.quotas.runs.options import RESERVE, limit_options
from wirekey.features.quotas.runs.shown import facts, state_of
from wirekey.features.quotas.runs.summary import lines_of_models
from wirekey.features.quotas.runs.used import RunUse, use_of, used_by, used_of_models, used_of_sub_agents

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.identity.runs import LimitChange
    from wirekey.core.identity.stored_runs import Reserve, StoredRun

HEAD = ("RUN", "AGENT", "STARTED", "CALLS", "TOKENS", "SPENT $", "OF $", "STATE")


@click.group("runs")
def command() -> None:
    """Start, show, extend and stop runs: programs with a budget. `exec --budget` starts one by itself."""


@command.command("start")
@with_config
@click.argument("name")
@click.option("--agent", required=True, help="The agent whose permissions, policy and quotas hold for the run.")
@click.option("--strict", is_flag=True, help="Allow only the hosts of providers and those in egress.allow.")
@as_json_option
def start(
    config: Config,
    name: str,
    agent: str,
    *,
    strict: bool,
    as_json: bool,
    reserve: Reserve,
    **limits: LimitChange | None,
) -> None:
    """Start the run NAME and print its token, for programs that `exec` does not start. It ends with `runs stop`."""
    run = new_run(name, limits, reserve)
    token = stored_runs(config).start(agent, run, lifetime=LONGEST.total_seconds(), strict=strict)
    if as_json:
        click.echo(json.dumps({"run": name, "agent": agent, "token": token}))
    else:
        click.echo(f"Started the run {name} of {agent}. Its token, which is never shown again:\n{token}")


@command.command("list")
@with_config
@click.option("--all", "shows_ended", is_flag=True, help="Also runs that have ended, of the last 30 days.")
@as_json_option
def list_runs(config: Config, *, shows_ended: bool, as_json: bool) -> None:
    """List the runs that have not ended, with what they have used."""
    found = [run for run in stored_runs(config).all() if shows_ended or run.is_live]
    used = used_by(config, (run.record for run in found))
    if as_json:
        click.echo(json.dumps([facts(run, used[run.record.token]) for run in found], indent=2))
    elif not found:
        click.echo(f"There are no runs. To start one: {COMMAND} exec --budget 5 -- PROGRAM")
    else:
        rows = [row(run, used[run.record.token]) for run in found]
        click.echo(table(HEAD, rows, right=(3, 4, 5, 6)))


@command.command("show")
@with_config
@click.argument("name")
@as_json_option
def show(config: Config, name: str, *, as_json: bool) -> None:
    """Show the run NAME: its limits, and what it has used of them."""
    run = stored_runs(config).find(name)
    use = use_of(config, run.record)
    if as_json:
        click.echo(json.dumps(facts(run, use), indent=2))
        return
    record = run.record
    ends = "-" if record.ends_at is UNSET else minute(record.ends_at)
    for label, value in (
        ("run", record.name),
        ("agent", run.agent),
        ("started", minute(record.created)),
        ("spent", f"{dollars(use.usd)} of {'-' if record.budget is UNSET else dollars(record.budget)}"),
        ("calls", f"{use.calls:,} of {'-' if record.calls is UNSET else f'{record.calls:,}'}"),
        ("tokens", f"{use.tokens:,} of {'-' if record.tokens is UNSET else f'{record.tokens:,}'}"),
        ("reserve", "worst" if record.reserve is UNSET else record.reserve),
        ("ends", ends),
        ("state", state_and_end(run, use)),
    ):
        click.echo(f"{label:<8}  {value}")
    for line in lines_of_models([*used_of_models(config, record), *used_of_sub_agents(config, record)]):
        click.echo(f"          {line}")


@command.command("extend")
@with_config
@click.argument("name")
@as_json_option
def extend(config: Config, name: str, *, as_json: bool, seconds: LimitChange | None, **limits: Any) -> None:
    """Change the limits of the run NAME: --budget +5 adds 5 dollars, --budget 10 sets 10. Others stay."""
    changes = {limit: change for limit, change in limits.items() if change}
    if not changes and seconds is None:
        raise click.UsageError("Nothing to change. Use --budget, --calls, --tokens or --for.")
    runs = stored_runs(config)
    runs.extend(name, changes, seconds)
    if as_json:
        run = runs.find(name)
        click.echo(json.dumps(facts(run, use_of(config, run.record)), indent=2))
    else:
        click.echo(f"Changed {name}. A running proxy applies it within 2 seconds.")


@command.command("stop")
@with_config
@click.argument("name")
@as_json_option
def stop(config: Config, name: str, *, as_json: bool) -> None:
    """Stop the run NAME. Its token stops working, and its open calls end."""
    stored_runs(config).end(name)
    if as_json:
        click.echo(json.dumps({"run": name, "stopped": True}))
    else:
        click.echo(f"Stopped {name}. A running proxy refuses it within 2 seconds.")


start.params[-1:-1] = (*limit_options(), RESERVE)  # in front of --json
extend.params[-1:-1] = limit_options(extends=True)


def stored_runs(config: Config) -> StoredRuns:
    """Return the runs of the configured state folder."""
    from wirekey.server.installation import agent_store

    return StoredRuns(agent_store(config))


def new_run(name: str, limits: dict[str, LimitChange | None], reserve: Reserve) -> NewRun:
    """Return a run with limits as options set them."""
    return NewRun(name, **{option: limit.amount for option, limit in limits.items() if limit}, reserve=reserve)


def state_and_end(run: StoredRun, use: RunUse) -> str:
    """Return the state of a run, with the time at which it ended."""
    ended = run.record.ended_at
    return state_of(run, use) if ended is UNSET else f"{state_of(run, use)} {minute(ended)}"


def row(run: StoredRun, use: RunUse) -> tuple[str, ...]:
    """Return the cells of a run in the table."""
    budget = "-" if run.record.budget is UNSET else dollars(run.record.budget).removeprefix("$")
    spent = f"{use.usd / NANODOLLARS:.4f}"
    return (
        run.record.name,
        run.agent,
        minute(run.record.created),
        f"{use.calls:,}",
        f"{use.tokens:,}",
        spent,
        budget,
        state_and_end(run, use),
    )
