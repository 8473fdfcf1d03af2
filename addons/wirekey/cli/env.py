"""wirekey env: print the variables that `exec` sets, for a shell or a dotenv file."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from wirekey.cli.environment import confined
from wirekey.cli.options import with_config
from wirekey.cli.program_environment import inherited_environment, keep_option
from wirekey.cli.program_token import gateway_of, new_program
from wirekey.core.command_name import SERVE_COMMAND

if TYPE_CHECKING:
    from wirekey.config import Config


@click.command("env")
@with_config
@click.option(
    "--agent", default=None, help="The agent that the programs call as. Default: an agent with the user's name."
)
@click.option("--shell", type=click.Choice(["bash", "fish", "powershell", "dotenv"]), default="bash")
@click.option("--hours", type=float, default=12.0, show_default=True, help="How many hours the token is valid.")
@click.option("--gateway", is_flag=True, help="Also set base URLs. Calls that ignore them use the proxy.")
@click.option("--strict", is_flag=True, help="Allow only the hosts of providers and those in egress.allow.")
@keep_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object. Variables to unset are null.")
def command(
    config: Config,
    agent: str | None,
    shell: str,
    hours: float,
    keep: tuple[str, ...],
    *,
    gateway: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Print the variables for programs that use Wirekey, with a new token: eval "$(wirekey env)".

    Variables that contain a secret of the configuration, or have the name of a provider's or gateway's credential, are
    unset, except the keys of a provider with key_source: passthrough. A dotenv file cannot unset variables: start its
    programs without them.
    """
    from wirekey.server.runtime import RunningProxy, on_this_machine

    inherited = inherited_environment(config, os.environ, keep)
    running = RunningProxy.read(config.state)
    place = gateway_of(running.gateway if running else config.listen.gateway) if gateway else None
    host, port = on_this_machine(running.forward if running else str(config.listen.forward))
    given = new_program(config, agent, label="env", lifetime=hours * 3600, strict=strict)
    variables = given.gateway_variables(config, place, host, port) if place else given.variables(config, host, port)
    if strict:
        variables = confined(variables)
    variables = {name: value for name, value in variables.items() if name not in inherited.kept}
    unset = inherited.to_unset(variables)
    if as_json:
        click.echo(json.dumps({**dict.fromkeys(unset), **variables}, indent=2))
    else:
        lines = [] if shell == "dotenv" else [unset_line(shell, name) for name in unset]
        click.echo("\n".join([*lines, *(line(shell, name, value) for name, value in variables.items())]))
    if inherited.notice:
        click.echo(inherited.notice, err=True)
    if running is None:
        click.echo(f"wirekey: no proxy is running yet. Start one with {SERVE_COMMAND}", err=True)
        sys.exit(1)


def unset_line(shell: str, name: str) -> str:
    """Return the line with which a shell unsets a variable."""
    if shell == "powershell":
        return f"Remove-Item -ErrorAction SilentlyContinue Env:{name}"
    return f"set -e {name}" if shell == "fish" else f"unset {name}"


def line(shell: str, name: str, value: str) -> str:
    """Return the line with which a shell sets a variable, with the value quoted."""
    if shell == "powershell":
        return f"$env:{name} = '{value.replace("'", "''")}'"
    if shell == "fish":
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{escaped}'"
    quoted = "'" + value.replace("'", "'\\''") + "'"
    return f"{name}={quoted}" if shell == "dotenv" else f"export {name}={quoted}"
