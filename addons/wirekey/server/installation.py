"""Opens the agents of a configuration, with the secrets from which the keys of the installation derive."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError, Problem
from wirekey.core.errors import UserError
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.installation_keys import MasterSecret
from wirekey.feature_registry import parts
from wirekey.server.database_server import DatabaseServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.core.identity.stored_agents import SharedAgents
    from wirekey.server.database_server import FollowsAgents

logger = logging.getLogger(__name__)


RETRY = 1.0
"""Seconds between two attempts to read the agents at a start."""
AGENTS_FILE = "agents.json"
AGENTS_COPY = "agents-copy.json"
"""The copy of the agents of `agents.store`."""


def agent_store(config: Config) -> AgentStore:
    """Return the agents of a configuration. Nothing connects to `agents.store` yet. Raises ConfigError, UserError."""
    masters = master_secrets(config)
    if (shared := shared_agents(config)) is None:
        return AgentStore(config.state / AGENTS_FILE, masters=masters)
    return AgentStore(config.state / AGENTS_COPY, masters=masters, shared=shared)


def shared_agents(config: Config) -> SharedAgents | None:
    """Return the agents that several machines share, if `agents.store` is set. Raises ConfigError, UserError."""
    found = (part.agents(config) for part in parts(DatabaseServer))
    return next((shared for shared in found if shared), None)


def copy_agents(agents: AgentStore) -> None:
    """Copy the agents of `agents.store` at a start. If the database is unreachable, use an earlier copy, or wait.

    A process without a copy would refuse every agent, so it does not listen before it has one. Raises UserError if the
    database cannot be used for a reason that only a person can end, and no copy exists.
    """
    waits = False
    while agents.shared is not None:
        try:
            agents.copy()
            agents.refresh()
        except UserError as error:
            if agents.path.exists():
                moment = datetime.fromtimestamp(agents.path.stat().st_mtime, UTC)
                logger.warning("%s The agents are those of %s UTC.", error, f"{moment:%Y-%m-%d %H:%M:%S}")
                return
            if not agents.shared.may_pass(error):
                raise
            if not waits:
                logger.warning("%s There is no copy of the agents. Wirekey waits until it can read them.", error)
            waits = True
            time.sleep(RETRY)
        else:
            return


def agents_follower(config: Config) -> FollowsAgents | None:
    """Return what copies the agents of `agents.store`, not started yet. Raises ConfigError, UserError."""
    found = (part.agents_follower(config, agent_store(config)) for part in parts(DatabaseServer))
    return next((follower for follower in found if follower), None)


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
