"""wirekey audit prune: delete old events."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from wirekey.cli.moments import moment
from wirekey.cli.options import with_config

if TYPE_CHECKING:
    from wirekey.config import Config


@click.command("prune")
@with_config
@click.option(
    "--before",
    callback=moment,
    default=None,
    help="Delete what is older: 12w, 400d (ago) or a date. Default: audit.retention.",
)
@click.option("--dry-run", is_flag=True, help="Only print how many calls would be deleted.")
def prune(config: Config, before: float | None, *, dry_run: bool) -> None:
    """Delete recorded calls that are older. Open calls are kept, and what is left can still be verified."""
    from wirekey.core.audit.checkpoints import KEY_USE, CheckpointKey
    from wirekey.core.audit.pruning import count_before
    from wirekey.server.audit_store import audit_database
    from wirekey.server.installation import agent_store

    if before is None and config.audit.retention_seconds:
        before = time.time() - config.audit.retention_seconds
    if before is None:
        raise click.UsageError("Pass --before, or set audit.retention in the configuration.")
    record, date = audit_database(config), f"{datetime.fromtimestamp(before).astimezone():%Y-%m-%d %H:%M:%S}"
    count = count_before(record, before)
    if dry_run or not count:
        click.echo(f"{count} calls are older than {date}.")
        return
    key = CheckpointKey(agent_store(config).derived_key(KEY_USE))
    bar = click.progressbar(length=count, label="Deleting", file=sys.stderr, hidden=not sys.stderr.isatty())
    with bar:
        deleted = record.prune(before, key, lambda done: bar.update(done - bar.pos))
    click.echo(f"Deleted {deleted} calls from before {date}.")
