"""wirekey audit: show, sum up and export recorded calls."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.audit_prune import prune
from wirekey.cli.audit_stats import by_name, stats_json, stats_table
from wirekey.cli.audit_verify import key, verify
from wirekey.cli.moments import moment
from wirekey.cli.options import Grouping, as_json_option, labels_of, with_config
from wirekey.cli.table import UNKNOWN, line, money, table, whole, word
from wirekey.core.call import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from wirekey.config import Config
    from wirekey.core.audit.event import AuditEvent
    from wirekey.core.audit.filters import Filters
    from wirekey.core.audit.sums import GroupBy

POLL_SECONDS = 0.25
"""Seconds between two looks for new calls."""

HEAD = ("TIME", "AGENT", "OPERATION", "MODEL", "STATUS", "OUTCOME", "IN", "OUT", "COST $", "TTFB ms", "ALL ms", "ID")
RIGHT = (4, 6, 7, 8, 9, 10)
ATTEMPT_HEAD = ("ATTEMPT", "UPSTREAM", "CREDENTIAL", "ROUTE", "MODEL", "FAILURE", "STATUS", "ms", "TRANSLATION")
ATTEMPT_RIGHT = (0, 6, 7)
TAIL_WIDTHS = (19, 12, 22, 24, 6, 16, 7, 7, 9, 8, 8, 12)
DAY = 86400
ALL_TIME = 10**10
"""Seconds: a period that contains all calls."""


def with_filters[R](function: Callable[..., R]) -> Callable[..., R]:
    """Add the options that select calls. `filters_of` turns their values into filters."""
    outcomes = click.Choice([*(outcome.value for outcome in Outcome), "in_progress"])
    for option in (
        click.option(
            "--label",
            "labels",
            multiple=True,
            callback=labels_of,
            metavar="NAME=VALUE",
            help="Only calls with this label, verified or not. Repeatable.",
        ),
        click.option("--outcome", type=outcomes, default=None, help="How the call ended."),
        click.option("--model", default=None, help="The requested or sent model. May contain * and ?."),
        click.option("--provider", default=None, help="Name of the provider, such as openai."),
        click.option("--agent", default=None, help="The agent that called."),
        click.option("--until", callback=moment, default=None, help="Only calls before: 15m, 2h, 7d (ago) or a date."),
        click.option("--since", callback=moment, default=None, help="Only calls since: 15m, 2h, 7d (ago) or a date."),
    ):
        function = option(function)
    return function


@click.group("audit")
def command() -> None:
    """Show, export and verify recorded calls: one event for each call, with names and counts, never content."""


command.add_command(prune)
command.add_command(verify)
command.add_command(key)


@command.command("list")
@with_config
@with_filters
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="How many calls.")
@as_json_option
def list_calls(config: Config, limit: int, *, as_json: bool, **filters: Any) -> None:
    """List the last calls, the latest one last."""
    from wirekey.core.audit.reading import latest
    from wirekey.server.audit_store import audit_database

    with audit_database(config).reading() as database:
        found = latest(database, filters_of(filters), limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        click.echo(table(HEAD, [cells(event) for event in found], RIGHT))
    else:
        click.echo("No such calls.")


@command.command("tail")
@with_config
@with_filters
@click.option(
    "--limit", "-n", type=click.IntRange(0), default=10, show_default=True, help="How many earlier calls to begin with."
)
@as_json_option
def tail(config: Config, limit: int, *, as_json: bool, **filters: Any) -> None:
    """Print the last calls, then each call as it ends. Stop with Ctrl-C. With --json: one JSON object for each line."""
    from wirekey.core.audit.following import EventFollower
    from wirekey.server.audit_store import audit_database

    with audit_database(config).reading() as database, contextlib.suppress(KeyboardInterrupt):
        follower = EventFollower(database, filters_of(filters), limit)
        if not as_json:
            click.echo(line(HEAD, TAIL_WIDTHS, RIGHT))
        while True:
            for event in follower.look():
                click.echo(json.dumps(event) if as_json else line(cells(event), TAIL_WIDTHS, RIGHT))
            time.sleep(POLL_SECONDS)


@command.command("show")
@with_config
@click.argument("call_id", metavar="ID")
@as_json_option
def show(config: Config, call_id: str, *, as_json: bool) -> None:
    """Show everything that is recorded about the call whose id begins or ends with ID."""
    from wirekey.core.audit.reading import attempts_of, one
    from wirekey.server.audit_store import audit_database

    with audit_database(config).reading() as database:
        event = one(database, call_id)
        attempts = attempts_of(database, str(event["id"]))
    for attempt in attempts:
        del attempt["call_id"]
    if as_json:
        click.echo(json.dumps({**event, "each_attempt": attempts} if attempts else event, indent=2))
        return
    width = max(map(len, event))
    for name, value in event.items():
        click.echo(f"{name:<{width}}  {word(value)}")
    if attempts:
        rows = [tuple(map(word, attempt.values()))[: len(ATTEMPT_HEAD)] for attempt in attempts]
        click.echo("\n" + table(ATTEMPT_HEAD, rows, ATTEMPT_RIGHT))


@command.command("stats")
@with_config
@with_filters
@click.option("--by", type=Grouping(["day", "agent", "model", "provider"]), default="day", show_default=True)
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="How many groups to name.")
@as_json_option
def show_stats(config: Config, by: GroupBy, top: int, *, as_json: bool, **filters: Any) -> None:
    """Sum up calls, tokens, cost, denials and times. The bars show calls. Days are in UTC."""
    from wirekey.core.audit.totals import totals
    from wirekey.server.audit_store import audit_database

    found = totals(
        audit_database(config),
        since=at(filters["since"]),
        until=at(filters["until"]) or datetime.now(UTC) + timedelta(days=1),
        bucket_seconds=DAY if by == "day" else ALL_TIME,
        by=None if by == "day" else by,
        filters=filters_of(filters),
        max_groups=top,
    )
    named = by_name(found, by)
    if as_json:
        click.echo(json.dumps(stats_json(by, found, named), indent=2))
    elif named:
        click.echo(stats_table(by, found, named))
    else:
        click.echo("No such calls.")


@command.command("export")
@with_config
@with_filters
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False), default=None, help="Write to this new file.")
@click.option("--attempts", "of_attempts", is_flag=True, help="Export the attempts of calls with several.")
def export(config: Config, form: str, output: str | None, *, of_attempts: bool, **filters: Any) -> None:
    """Export all calls, oldest first."""
    from wirekey.core.audit.event import ATTEMPT_NAMES, NAMES
    from wirekey.core.audit.reading import attempts, events, write_csv, write_jsonl
    from wirekey.server.audit_store import audit_database

    read, names = (attempts, ATTEMPT_NAMES) if of_attempts else (events, NAMES)
    with audit_database(config).reading() as database, target(output) as stream:
        found = read(database, filters_of(filters))
        if form == "csv":
            write_csv(found, stream, names)
        else:
            write_jsonl(found, stream)


@contextlib.contextmanager
def target(output: str | None) -> Iterator[TextIO]:
    """Return the stream of an export. A file is readable by its owner only; an existing file is not overwritten."""
    if output is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.UsageError(f"{output} cannot be created: {error.strerror}.") from error
    with open(descriptor, "w", encoding="ascii", newline="") as stream:  # noqa: PTH123  # of a descriptor
        yield stream


def filters_of(options: dict[str, Any]) -> Filters:
    """Return the filters that the options of `with_filters` select."""
    from wirekey.core.audit.filters import Filters

    return Filters(**(options | {"labels": tuple(options["labels"].items())}))


def cells(event: AuditEvent) -> tuple[str, ...]:
    """Return the cells of one line, with the local time and the end of the id."""
    return (
        local_time(str(event["time"])),
        word(event["agent_id"]),
        word(event["operation"] or event["path"]),
        word(event["model"] or event["requested_model"]),
        word(event["status"]),
        word(event["outcome"] or "in progress"),
        word(event["input_tokens"]),
        word(event["output_tokens"]),
        money(event["cost_usd"]),
        whole(event["ttfb_ms"]),
        whole(event["duration_ms"]),
        str(event["id"])[-12:],
    )


def local_time(stored: str) -> str:
    """Return a stored time as a local one. One that Wirekey did not write is unknown."""
    try:
        return f"{datetime.fromisoformat(stored).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def at(moment: float | None) -> datetime | None:
    """Return seconds since 1970 as a time in UTC."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC)
