"""wirekey agents import and export: add agents with credentials that exist already, and move agents elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wirekey.cli.options import with_config
from wirekey.core.errors import UserError
from wirekey.core.identity import private_file

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.identity.agents_format import AgentRecords
    from wirekey.core.identity.agents_import import ImportReport


@click.command("import")
@with_config
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_command(config: Config, file: str, *, as_json: bool) -> None:
    """Import agents with their tokens and client credentials from FILE, or from standard input (-).

    FILE is CSV, whose first row names the fields, or JSON, a list of objects. The fields are agent, role, type,
    permissions, suspended, labels, token, client_id and client_secret. JSON can have a list of several tokens as
    tokens, and an object as labels. In CSV they are NAME=VALUE. FILE can also come from wirekey agents export.

    All agents are imported, or none. The same file can be imported again: what exists already is left as it is.
    """
    from wirekey.core.identity.import_file import LARGEST_FILE, read_entries
    from wirekey.server.installation import agent_store

    with click.open_file(file, "rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    name = "standard input" if file == "-" else file
    exported = read_export(content, name)
    if exported is not None:
        report = agent_store(config).import_exported(exported)
    else:
        report = agent_store(config).import_agents(read_entries(content, name))
    for warning in report.warnings:
        click.echo(f"wirekey: {warning}", err=True)
    if as_json:
        facts = {"added": report.added, "changed": report.changed, "unchanged": report.unchanged}
        click.echo(json.dumps(facts))
        return
    click.echo(summary(report))
    if file != "-" and exported is None:
        click.echo(f"{file} contains the credentials in plain text. Delete it when clients do not need it.")


def read_export(content: bytes, name: str) -> AgentRecords | None:
    """Return the agents of an export, or None if the file is not an export. Raises UserError."""
    from wirekey.core.identity.agents_format import AgentRecordsError, exported

    try:
        return exported(content)
    except AgentRecordsError as error:
        raise UserError(f"{name} {error}.") from error


@click.command("export")
@with_config
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file, with mode 0600.")
def export_command(config: Config, output: str | None) -> None:
    """Print all agents as JSON, with the hashes of their credentials, for wirekey agents import elsewhere.

    Tokens and client credentials are valid there. AWS key pairs and imported credentials are too if both places have
    the same secrets.master.
    """
    from wirekey.server.installation import agent_store

    content = agent_store(config).export()
    if output is None:
        click.echo(content.decode(), nl=False)
        return
    try:
        private_file.replace(Path(output), content)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.") from error


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
