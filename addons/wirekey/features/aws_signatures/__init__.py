"""AWS signatures of agents: an agent has an AWS key pair of its own, with which its AWS SDK signs.

`signatures` is what the core asks: it verifies with `verify`, and allows each signature one use with `replay`, and with
`shared_uses` if there are other processes. `command` issues the pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import click

    from wirekey.cli.agent_commands import AddedAgent
    from wirekey.core.calls.agent_signatures import AgentSignatures
    from wirekey.core.calls.services import Services
    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.identity.aws_pairs import KeyPair


def parts() -> tuple[object, ...]:
    """Return what AWS signatures of agents add to the core."""
    from wirekey.cli.agent_commands import AgentCommands, ProgramPairs
    from wirekey.core.calls.service_parts import AddedAgentSignatures

    return (AddedAgentSignatures(make_signatures), AgentCommands(commands, options, added), ProgramPairs(pair_of))


def make_signatures(services: Services) -> AgentSignatures:
    """Return what verifies the signatures of agents."""
    from wirekey.features.aws_signatures.signatures import VerifiedSignatures

    return VerifiedSignatures(services)


def commands() -> Sequence[click.Command]:
    """Return the command of `wirekey agents`."""
    from wirekey.features.aws_signatures.command import command

    return (command,)


def options() -> Sequence[click.Parameter]:
    """Return the option of `wirekey agents add`."""
    from wirekey.features.aws_signatures.command import AWS_OPTION

    return (AWS_OPTION,)


def added(agent: AddedAgent, values: Mapping[str, Any]) -> None:
    """Print the key pair of an agent that was added, if it gets one."""
    from wirekey.features.aws_signatures.command import print_pair_of_added

    print_pair_of_added(agent, values)


def pair_of(agents: AgentStore, name: str) -> KeyPair:
    """Return the key pair of an agent, which is created if it has none."""
    return agents.pair(name)


FEATURE = Feature("aws_signatures", parts)
