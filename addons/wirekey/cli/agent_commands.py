"""The parts of a feature that issues further credentials to agents, on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import click

    from wirekey.config import Config
    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.identity.aws_pairs import KeyPair


@dataclass(frozen=True, slots=True)
class AddedAgent:
    """An agent that `wirekey agents add` has added. `as_json`: whether JSON is printed."""

    config: Config
    agents: AgentStore
    name: str
    as_json: bool


@dataclass(frozen=True, slots=True)
class AgentCommands:
    """The part of a feature that adds commands to `wirekey agents`, and options to `wirekey agents add`.

    `added` gets the values of the options by name, once the agent is added and its token is printed.
    """

    commands: Callable[[], Sequence[click.Command]]
    options: Callable[[], Sequence[click.Parameter]]
    added: Callable[[AddedAgent, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class ProgramPairs:
    """The part of a feature with the AWS key pairs that `exec` and `env` set. `of` returns that of an agent."""

    of: Callable[[AgentStore, str], KeyPair]
