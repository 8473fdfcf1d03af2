"""Opens the agents of a configuration, with the secrets from which the keys of the installation derive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError, Problem
from wirekey.identity.agents import AgentStore
from wirekey.identity.installation_keys import MasterSecret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config


def agent_store(config: Config) -> AgentStore:
    """Return the agents of a configuration. Raises ConfigError, AgentsFileError."""
    return AgentStore(config.state / "agents.json", masters=master_secrets(config))


def master_secrets(config: Config) -> tuple[MasterSecret, ...]:
    """Return the secrets of `secrets.master` and `secrets.previous`, empty if they are not set. Raises ConfigError."""
    found = list(read_masters(config))
    if problems := [one for one in found if isinstance(one, Problem)]:
        raise ConfigError(problems)
    return tuple(one for one in found if isinstance(one, MasterSecret))


def read_masters(config: Config) -> Iterator[MasterSecret | Problem]:
    """Yield each master secret, or its problem."""
    settings = config.secrets
    if settings.master is None:
        return
    named = {"secrets.master": settings.master}
    named |= {f"secrets.previous[{index}]": reference for index, reference in enumerate(settings.previous)}
    for setting, reference in named.items():
        found = config.resolve(reference, setting)
        if isinstance(found, Problem):
            yield found
            continue
        try:
            yield MasterSecret.parse(found.reveal())
        except ValueError as error:
            yield config.problem(setting, f"the value of {reference} {error}")
