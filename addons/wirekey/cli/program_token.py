"""The token of a program for `exec` and `env`, and the variables with which the program uses it."""

from __future__ import annotations

import getpass
import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.cli.agent_commands import ProgramPairs
from wirekey.cli.environment import NODE_HOOK, client_environment, gateway_environment, without_hosts
from wirekey.cli.passthrough import without_passed_through
from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.identity.aws_pairs import KeyPair
    from wirekey.core.identity.stored_runs import NewRun


@dataclass(frozen=True, slots=True)
class Program:
    """The agent that a program calls as, with its token, and its AWS key pair if a feature issues one."""

    agent: str
    token: str = field(repr=False)
    pair: KeyPair | None

    def variables(self, config: Config, host: str, port: int) -> dict[str, str]:
        """Return the variables that make the program use the proxy at `host` and `port`."""
        variables = client_environment(
            host=host,
            port=port,
            agent=self.agent,
            token=self.token,
            certs=config.certs.folder.absolute(),
            region=config.providers.bedrock.regions[0],
            pair=self.pair,
            inherited=os.environ,
            node_hook=NODE_HOOK,
        )
        return without_passed_through(config, variables)

    def gateway_variables(self, config: Config, gateway: str, host: str, port: int) -> dict[str, str]:
        """Return the variables that make the program call the gateway at `gateway`, HOST:PORT.

        Calls of SDKs that do not read the variables for base URLs use the proxy at `host` and `port`.
        """
        from wirekey.config import provider_hosts
        from wirekey.server.runtime import on_this_machine

        here, gateway_port = on_this_machine(gateway)
        never = without_hosts(os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), provider_hosts(config))
        variables = gateway_environment(
            f"[{here}]:{gateway_port}" if ":" in here else f"{here}:{gateway_port}",
            token=self.token,
            region=config.providers.bedrock.regions[0],
            pair=self.pair,
            inherited={**os.environ, "NO_PROXY": never, "no_proxy": never},
        )
        return self.variables(config, host, port) | without_passed_through(config, variables)


def gateway_of(listener: object) -> str:
    """Return where the gateway listens, as HOST:PORT. Raises UserError if it is off."""
    if listener is None:
        raise UserError("the gateway is off: set listen.gateway, such as 127.0.0.1:8000, and restart")
    return str(listener)


def new_program(
    config: Config,
    agent: str | None,
    *,
    label: str,
    lifetime: float,
    strict: bool = False,
    renewable: float | None = None,
    run: NewRun | None = None,
) -> Program:
    """Issue a token that is valid for `lifetime` seconds. Without `agent`, it is for an agent with the user's name.

    `strict`: the token is refused for hosts other than the providers'. `renewable`: for how many seconds it may be
    renewed. `run`: the run to start, whose token it is. A run has no AWS key pair, which would be the agent's. Raises
    AgentError if there is no such agent, AgentsFileError.
    """
    from wirekey.core.identity.agents_format import UnknownAgentError
    from wirekey.core.identity.stored_runs import StoredRuns
    from wirekey.server.installation import agent_store

    name = agent or own_name()
    agents = agent_store(config)
    if agent is None:
        agents.ensure_agent(name)
    try:
        if run:
            token = StoredRuns(agents).start(name, run, lifetime=lifetime, strict=strict, renewable=renewable)
            return Program(name, token, None)
        token = agents.issue_token(name, label=label, lifetime=lifetime, strict=strict, renewable=renewable)
    except UnknownAgentError as error:
        raise UserError(f"{error} To add it: {COMMAND} agents add {shlex.quote(name)}") from None
    pairs = next(parts(ProgramPairs), None)
    return Program(name, token, pairs.of(agents, name) if pairs else None)


def own_name() -> str:
    """Return the user's name as a valid agent name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "local"
    return re.sub(r"[^A-Za-z0-9._-]", "-", user)[:64] or "local"
