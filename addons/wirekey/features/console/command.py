"""wirekey console: print a link that signs in to the live page."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from wirekey.cli.options import with_config
from wirekey.core.command_name import SERVE_COMMAND
from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from wirekey.config import Config


@click.command("console")
@with_config
@click.option("--rotate", is_flag=True, help="Create a new operator token first, which signs everyone out.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(config: Config, *, rotate: bool, as_json: bool) -> None:
    """Print a link to the live page. It signs in once, within five minutes.

    The link is made from the operator token in the file console-token of the state folder. If you cannot open a link,
    paste the token itself into the page.
    """
    from wirekey.features.console import operator_token
    from wirekey.server.runtime import THIS_MACHINE, RunningProxy

    running = RunningProxy.read(config.state)
    if running is None or running.console is None:
        missing = "no proxy uses this state folder" if running is None else "listen.console is not open"
        raise UserError(f"{missing}. Start Wirekey with `{SERVE_COMMAND}`, then try again.")
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
    click.echo(f"The link signs in once, within {operator_token.LINK_LIFETIME // 60} minutes.", err=True)
