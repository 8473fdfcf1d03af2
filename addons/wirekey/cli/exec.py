"""wirekey exec: run a program with the variables set that make its calls go through Wirekey."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wirekey.cli.environment import CODEX_KEY, confined
from wirekey.cli.options import with_config
from wirekey.cli.program_environment import inherited_environment, keep_option
from wirekey.cli.program_limits import ProgramLimits, ProgramRequest
from wirekey.cli.program_run import run
from wirekey.cli.program_token import gateway_of, new_program
from wirekey.cli.renewed_token import LIFETIME, RENEWABLE, renewed_token
from wirekey.core.command_name import SERVE_COMMAND
from wirekey.core.errors import UserError
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from wirekey.config import Config

GATEWAY_HINTS = {
    "codex": "codex reads no variable for a base URL, so its calls go through the proxy. To have it call the gateway, "
    "add -c openai_base_url={OPENAI_BASE_URL}",
}
"""Program → a note for its user in gateway mode, with the variables that are set."""


# Options after the program's name belong to the program: `exec python -c …` needs no `--`.
@click.command("exec", context_settings={"allow_interspersed_args": False})
@with_config
@click.option(
    "--agent", default=None, help="The agent that the program calls as. Default: an agent with the user's name."
)
@click.option("--gateway", is_flag=True, help="Also set base URLs. Calls that ignore them use the proxy.")
@click.option("--strict", is_flag=True, help="Allow only the hosts of providers and those in egress.allow.")
@keep_option
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    config: Config,
    agent: str | None,
    keep: tuple[str, ...],
    program: tuple[str, ...],
    *,
    gateway: bool,
    strict: bool,
    **of_features: Any,
) -> None:
    """Run PROGRAM with its calls going through Wirekey. It gets a token that ends with it, and no provider key.

    Variables that contain a secret of the configuration, or have the name of a provider's or gateway's credential, are
    not passed on to PROGRAM, except its own keys of a provider with key_source: passthrough.
    """
    from wirekey.server.runtime import RunningProxy

    inherited = inherited_environment(config, os.environ, keep)
    running = RunningProxy.read(config.state)
    if running is None:
        raise UserError(f"no proxy uses this state folder. Start one in another terminal: {SERVE_COMMAND}")
    place = gateway_of(running.gateway) if gateway else None
    request = ProgramRequest(config, agent, strict)
    limited = next((found for part in parts(ProgramLimits) if (found := part.begin(request, of_features))), None)
    if limited:
        given, lifetime = limited.program, limited.lifetime
    else:
        given = new_program(config, agent, label="exec", lifetime=LIFETIME, renewable=RENEWABLE, strict=strict)
        lifetime = LIFETIME
    host, port = running.host, running.port
    variables = given.gateway_variables(config, place, host, port) if place else given.variables(config, host, port)
    if strict:
        variables = confined(variables)
    if inherited.notice:
        click.echo(inherited.notice, err=True)
    if place:
        variables |= token_for_codex(program, variables)
    if place and (hint := gateway_hint(program, variables)):
        click.echo(f"wirekey: {hint}", err=True)
    with renewed_token(config, given, lifetime):
        code = run(program, inherited.with_variables(variables), limited.watch if limited else None)
    sys.exit(limited.finish(code) if limited else code)


for of_feature in parts(ProgramLimits):
    command.params[-1:-1] = of_feature.options()  # in front of the program


def token_for_codex(program: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variable with the agent's token for Codex, if its arguments make it call the gateway."""
    base = variables.get("OPENAI_BASE_URL")
    calls_it = base is not None and any(
        argument.rpartition("openai_base_url=")[2].strip("'\"").rstrip("/") == base for argument in program[1:]
    )
    return {CODEX_KEY: variables["OPENAI_API_KEY"]} if calls_it and Path(program[0]).name == "codex" else {}


def gateway_hint(program: Sequence[str], variables: Mapping[str, str]) -> str | None:
    """Return a note on how a program is made to call the gateway, if it is one that no variable brings there."""
    hint = GATEWAY_HINTS.get(Path(program[0]).name)
    follows_it = any("openai_base_url" in argument for argument in program[1:])
    return hint.format_map(variables) if hint and not follows_it and "OPENAI_BASE_URL" in variables else None
