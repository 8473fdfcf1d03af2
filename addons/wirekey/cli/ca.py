"""wirekey ca: show, renew and export the CA that clients trust."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wirekey.cli.options import with_config
from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.ca.authority import Authority


@click.group("ca")
def command() -> None:
    """Show, renew and export the CA that clients trust. It is valid only for provider hosts and the local gateway."""


@command.command("show")
@with_config
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(config: Config, *, as_json: bool) -> None:
    """Show the CA, and whether it covers the hosts of the configuration. The exit code is 1 if it does not."""
    from wirekey.config import provider_hosts
    from wirekey.core.ca.authority import load

    authority = load(config.certs.folder)
    missing = authority.covers(provider_hosts(config))
    if as_json:
        click.echo(json.dumps(ca_json(authority, missing), indent=2))
    else:
        click.echo(ca_lines(authority))
        for host in missing:
            click.echo(f"wirekey: it does not cover {host}. Create a new one with `{COMMAND} ca renew`.", err=True)
    sys.exit(1 if missing else 0)


@command.command("renew")
@with_config
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def renew(config: Config, *, as_json: bool) -> None:
    """Create a new CA for the hosts of the configuration. The old one is kept beside it as `.previous`."""
    from wirekey.config import provider_hosts
    from wirekey.core.ca import authority
    from wirekey.server.runtime import RunningProxy

    if given := config.certs.key_file:
        raise UserError(
            f"The CA is that of certs.key, {given}, and is not renewed here. Make a new one in another folder: "
            f"WIREKEY_CERTS=FOLDER {COMMAND} ca renew. Then replace the file with FOLDER/mitmproxy-ca.pem, and restart "
            "all machines."
        )
    renewed = authority.renew(config.certs.folder, list(provider_hosts(config)))
    click.echo(json.dumps(ca_json(renewed, []), indent=2) if as_json else ca_lines(renewed))
    notes = ["Clients that have the old root installed need this one. Programs started by `exec` use it automatically."]
    if RunningProxy.read(config.state):
        notes.append("The running proxy still uses the old CA. Restart it.")
    click.echo("\n".join(notes), err=True)


@command.command("bundle")
@with_config
@click.option("--root", "root_only", is_flag=True, help="Only the root of the CA, for clients that add to their own.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
def bundle(config: Config, *, root_only: bool, output: Path | None) -> None:
    """Print the public roots and that of the CA as one PEM file, for clients whose setting replaces all roots."""
    from wirekey.core.ca.authority import load

    authority = load(config.certs.folder)
    file = authority.root_file if root_only else authority.bundle_file
    try:
        pem = file.read_text()
        if output is None:
            click.echo(pem, nl=False)
        else:
            output.write_text(pem)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}. Start the proxy once, which writes this file.") from error


def ca_json(authority: Authority, missing: list[str]) -> dict[str, object]:
    """Return the CA as JSON values. `missing` are configured hosts that it does not cover."""
    return {
        "root": str(authority.root_file),
        "bundle": str(authority.bundle_file),
        "truststore": str(authority.truststore_file),
        "sha256": authority.fingerprint,
        "expires": authority.expires.isoformat(),
        "hosts": list(authority.hosts),
        "gateway": authority.covers_gateway,
        "missing_hosts": missing,
    }


def ca_lines(authority: Authority) -> str:
    """Return the CA as lines for people."""
    first, *others = authority.hosts
    return "\n".join(
        [
            f"root         {authority.root_file}",
            f"bundle       {authority.bundle_file} (public roots and this one)",
            f"truststore   {authority.truststore_file} (the same for Java, password changeit)",
            f"SHA-256      {authority.fingerprint}",
            f"expires      {authority.expires:%Y-%m-%d %H:%M} UTC",
            f"valid for    {first}",
            *(f"             {host}" for host in others),
            *["             localhost, 127.0.0.1, ::1 (the gateway)"][: authority.covers_gateway],
        ]
    )
