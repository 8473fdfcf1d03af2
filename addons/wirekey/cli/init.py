"""wirekey init: write a first configuration, policy and agent."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wirekey.config.loading import KEY_VARIABLES
from wirekey.core.command_name import COMMAND, SERVE_COMMAND
from wirekey.core.errors import UserError
from wirekey.providers.registry import DEFAULT_PROVIDER, PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "wirekey.yaml"
NAMES = tuple(KEY_VARIABLES)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HEAD = """\
# The configuration of Wirekey. A running proxy applies changes within two seconds.
# All settings: docs/reference/configuration.md. Check it with: {command} config check

# Addresses that Wirekey listens on: the proxy for HTTPS_PROXY, the gateway for a base_url, and the console.
listen:
  forward: 127.0.0.1:8080
  gateway: 127.0.0.1:8000
  console: 127.0.0.1:8090

# The keys of the providers. `env:NAME` is a variable of Wirekey's environment or of the file .env beside this one,
# `file:PATH` a file. A key itself does not belong in this file. Several keys are used in turn.
providers:
"""
TAIL = """
# The rules in this folder decide each call. Check them with: {command} policy check
policy:
  path: policies/

# Hosts of no provider. tunnel: programs may reach them, undecrypted and recorded. deny: only those in `allow`. Known
# hosts of models are refused unless `allow` lists them.
egress:
  other_hosts: tunnel
  # allow: ["github.com", "*.githubusercontent.com"]

# Routing rules by requested model. The first match wins.
# routes:
#   - {{match: "gpt-4*", model: gpt-4o-mini}}
"""


@click.command("init")
@click.option(
    "--provider",
    "providers",
    multiple=True,
    type=click.Choice(NAMES),
    help="A provider that programs may call. Repeatable.",
)
@click.option(
    "--key-env",
    "variables",
    multiple=True,
    metavar="NAME",
    help="The variable with the key of the provider at the same position. Default: the provider's usual variable.",
)
@click.option("--agent", default=None, metavar="NAME", help="Add a first agent and print its token.")
def command(providers: tuple[str, ...], variables: tuple[str, ...], agent: str | None) -> None:
    """Write a commented wirekey.yaml and the folder policies/ here, and add a first agent.

    Asks for what the options leave open, if it runs on a terminal. Existing files are never changed.
    """
    folder = Path.cwd()
    if (folder / FILE).exists():
        raise UserError(f"{folder / FILE} exists and is not changed. Edit it, or run init in another folder.")
    if len(variables) > len(providers):
        raise click.UsageError("--key-env needs a --provider before it: --provider openai --key-env OPENAI_API_KEY")
    asks = sys.stdin.isatty()
    if not providers:
        providers, variables = prompted_providers() if asks else ((DEFAULT_PROVIDER.name,), ())
    if agent is None and asks:
        agent = click.prompt("Name of the first agent (empty: none)", default="", show_default=False) or None
    keys = key_variables(providers, variables)
    write_new(folder / FILE, configuration_text(keys))
    click.echo(f"Wrote {FILE}.")
    copy_policies(folder / "policies")
    if agent:
        add_agent(agent)
    click.echo(f"\nNext: set {' and '.join(keys.values())} and run {SERVE_COMMAND}")


def prompted_providers() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ask for the providers and the variables of their keys."""
    answer = click.prompt(f"Providers, of {', '.join(NAMES)}", default=DEFAULT_PROVIDER.name)
    providers = tuple(dict.fromkeys(name for name in re.split(r"[\s,]+", answer.lower()) if name))
    if unknown := [name for name in providers if name not in NAMES]:
        raise click.UsageError(f"{unknown[0]} is not a provider. Providers are {', '.join(NAMES)}.")
    usual = key_variables(providers, ())
    return providers, tuple(click.prompt(f"Variable with the key of {name}", usual[name]) for name in providers)


def key_variables(providers: tuple[str, ...], variables: tuple[str, ...]) -> dict[str, str]:
    """Return provider → variable of its key. Raises UsageError for a name that no variable can have."""
    if wrong := [name for name in variables if not VARIABLE.fullmatch(name)]:
        # Without the value, which may be a key.
        shown = wrong[0] if len(wrong[0]) < 10 else f"{wrong[0][:4]}…"
        raise click.UsageError(f"--key-env {shown} is not the name of a variable, such as OPENAI_API_KEY.")
    given = dict(zip(providers, variables, strict=False))
    return {name: given.get(name, KEY_VARIABLES[name][0]) for name in dict.fromkeys(providers)}


def configuration_text(keys: Mapping[str, str]) -> str:
    """Return the text of the configuration. `keys` is provider → variable of its key."""
    lines = []
    for name, variable in keys.items():
        setting = (
            f"aws: {{bearer: env:{variable}}}\n    regions: [us-east-1]"
            if PROVIDERS[name].credentials.uses_aws
            else f"keys: [env:{variable}]"
        )
        lines.append(f"  {name}:\n    {setting}\n")
    return HEAD.format(command=COMMAND) + "".join(lines) + TAIL.format(command=COMMAND)


def write_new(path: Path, text: str) -> None:
    """Write a file that must not exist. Raises UserError."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def copy_policies(folder: Path) -> None:
    """Copy the default policy to a new folder. An existing folder stays as it is. Raises UserError."""
    from wirekey.config.policy import SHIPPED_POLICIES

    if folder.exists():
        click.echo(f"{folder.name}/ exists and is not changed.")
        return
    try:
        shutil.copytree(SHIPPED_POLICIES, folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}.") from error
    click.echo(f"Wrote {folder.name}/, a copy of the default policy.")


def add_agent(name: str) -> None:
    """Add an agent and print its token, unless the agent exists. Raises AgentError if the name is not valid."""
    import os

    from wirekey.cli.new_credentials import print_token
    from wirekey.config import load
    from wirekey.server.installation import agent_store

    config = load(None, os.environ)
    agents = agent_store(config)
    if any(agent.id == name for agent in agents.agents()):
        click.echo(f"The agent {name} exists and is not changed.")
        return
    click.echo("")
    print_token(config, name, agents.add(name), f"Added the agent {name}.", as_json=False)
