"""A token for programs that run behind the proxy, and the variables that carry it: for `exec` and `env`."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wirekey.cli.environment import client_environment, gateway_environment, without_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.identity.aws_pairs import KeyPair


@dataclass(frozen=True, slots=True)
class Program:
    """The agent that a program is, its token, and its AWS key pair."""

    agent: str
    token: str = field(repr=False)
    pair: KeyPair

    def variables(self, config: Config, host: str, port: int) -> dict[str, str]:
        """Give what to set in the program's environment, so that it goes through the proxy at HOST:PORT."""
        return client_environment(
            host=host,
            port=port,
            agent=self.agent,
            token=self.token,
            certs=config.certs.absolute(),
            region=config.providers.bedrock.regions[0],
            pair=self.pair,
            inherited=os.environ,
            node_hook=Path(__file__).with_name("node_proxy.cjs"),
        )

    def gateway_variables(self, config: Config, gateway: str, host: str, port: int) -> dict[str, str]:
        """Return what to set so that the program calls the gateway that listens at `gateway`, HOST:PORT.

        What goes past a base URL, because the program does not read its variable, goes through the proxy at `host` and
        `port`, for the same agent.
        """
        from wirekey.config import provider_hosts
        from wirekey.server.runtime import on_this_machine

        here, gateway_port = on_this_machine(gateway)
        never = without_hosts(os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), provider_hosts(config))
        return self.variables(config, host, port) | gateway_environment(
            f"[{here}]:{gateway_port}" if ":" in here else f"{here}:{gateway_port}",
            token=self.token,
            region=config.providers.bedrock.regions[0],
            pair=self.pair,
            inherited={**os.environ, "NO_PROXY": never, "no_proxy": never},
        )


def gateway_of(listener: object) -> str:
    """Give where the gateway listens, HOST:PORT; without one, the command ends with exit code 1 and a sentence."""
    if listener is None:
        click.echo("wirekey: the gateway is off: set listen.gateway, such as 127.0.0.1:8000, and start anew", err=True)
        sys.exit(1)
    return str(listener)


def new_program(config: Config, agent: str | None, *, label: str, lifetime: float, strict: bool = False) -> Program:
    """Make a token, good for `lifetime` seconds, for `agent` or, without one, for the user of this machine.

    `strict`: the token is refused for other hosts than providers'.

    Ends the command with exit code 1 and a sentence where there is no such agent, or the agents' file forbids it.
    """
    from wirekey.identity.agents import AgentError, AgentsFileError, AgentStore

    name = agent or own_name()
    try:
        agents = AgentStore(config.state / "agents.json")
        if agent is None:
            agents.enrol(name)
        return Program(name, agents.issue_token(name, label=label, lifetime=lifetime, strict=strict), agents.pair(name))
    except (AgentError, AgentsFileError) as error:
        click.echo(f"wirekey: {error}", err=True)
        sys.exit(1)


@contextlib.contextmanager
def ending_token(config: Config, program: Program) -> Iterator[None]:
    """End the token when the program has ended."""
    from wirekey.identity.agents import AgentError, AgentsFileError, AgentStore

    try:
        yield
    finally:
        try:
            AgentStore(config.state / "agents.json").drop_token(program.agent, program.token)
        except (AgentError, AgentsFileError) as error:
            click.echo(f"wirekey: the program's token could not be ended, and ends by itself: {error}", err=True)


def own_name() -> str:
    """Give the user's name, made fit to be an agent's."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "local"
    return re.sub(r"[^A-Za-z0-9._-]", "-", user)[:64] or "local"
