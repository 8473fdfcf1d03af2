"""wirekey agents import: add agents with credentials that exist already."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from wirekey.cli.options import with_config

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.identity.agents_import import ImportReport


@click.command("import")
@with_config
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_command(config: Config, file: str, *, as_json: bool) -> None:
    """Import agents with their tokens and client credentials from FILE, or from standard input (-).

    FILE is CSV, whose first row names the fields, or JSON, a list of objects. The fields are agent, role, type,
    permissions, suspended, token, client_id and client_secret. JSON can have a list of several tokens as tokens.

    All agents are imported, or none. The same file can be imported again: what exists already is left as it is.
    """
    from wirekey.identity.import_file import LARGEST_FILE, read_entries
    from wirekey.server.installation import agent_store

    with click.open_file(file, "rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    entries = read_entries(content, "standard input" if file == "-" else file)
    report = agent_store(config).import_agents(entries)
    for warning in report.warnings:
        click.echo(f"wirekey: {warning}", err=True)
    if as_json:
        facts = {"added": report.added, "changed": report.changed, "unchanged": report.unchanged}
        click.echo(json.dumps(facts))
        return
    click.echo(summary(report))
    if file != "-":
        click.echo(f"{file} contains the credentials in plain text. Delete it when clients do not need it.")


def summary(report: ImportReport) -> str:
    """Return a sentence on what an import did."""
    parts = [
        f"{what} {len(names)} agent{'s' * (len(names) != 1)}"
        for what, names in (("Added", report.added), ("Added credentials to", report.changed))
        if names
    ]
    if report.unchanged:
        parts.append(f"{len(report.unchanged)} {'was' if len(report.unchanged) == 1 else 'were'} imported already")
    return ". ".join(parts) + "."
