"""wirekey console: a link that signs in to the live page."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from wirekey.cli.options import with_config
from wirekey.errors import UserError

if TYPE_CHECKING:
    from wirekey.config import Config


@click.command("console")
@with_config
@click.option("--rotate", is_flag=True, help="Make a new operator token first: who is signed in is signed out.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(config: Config, *, rotate: bool, as_json: bool) -> None:
    """Print a link to the live page that signs in once, within five minutes.

    It is made from the operator token, in the file console-token of the state folder. The token itself signs in, too:
    paste it into the page where a link cannot be opened.
    """
    from wirekey.console import operator_token
    from wirekey.server.runtime import THIS_MACHINE, RunningProxy

    running = RunningProxy.read(config.state)
    if running is None or running.console is None:
        missing = "Wirekey does not run on this state folder" if running is None else "listen.console is not open"
        raise UserError(f"{missing}. Start it with `wirekey serve`, then ask again.")
    token = operator_token.rotate(config.state) if rotate else operator_token.ensure(config.state)
    host, _, port = running.console.rpartition(":")
    bare = host.strip("[]")
    here = THIS_MACHINE.get(bare, bare)
    place = f"[{here}]:{port}" if ":" in here else f"{here}:{port}"
    url = f"http://{place}/#code={operator_token.link_code(token, time.time())}"
    if as_json:
        click.echo(json.dumps({"url": url, "expires_seconds": operator_token.LINK_LIFETIME}))
        return
    click.echo(url)
    click.echo(f"It signs in once, within {operator_token.LINK_LIFETIME // 60} minutes.", err=True)
