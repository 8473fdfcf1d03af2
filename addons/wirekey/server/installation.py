"""Opens the agents of a configuration, with the secrets from which the keys of the installation derive."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError, Problem
from wirekey.config.secrets import SecretRef
from wirekey.config.values import REFERENCES
from wirekey.core.errors import UserError
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.installation_keys import MasterSecret
from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.server.agents_database import AgentsDatabase
    from wirekey.server.agents_following import AgentsFollower

logger = logging.getLogger(__name__)


RETRY = 1.0
"""Seconds between two attempts to read the agents at a start."""
AGENTS_FILE = "agents.json"
AGENTS_COPY = "agents-copy.json"
"""The copy of the agents of `agents.store`."""


def agent_store(config: Config) -> AgentStore:
    """Return the agents of a configuration. Nothing connects to `agents.store` yet. Raises ConfigError, UserError."""
    masters = master_secrets(config)
    if (database := agents_database(config)) is None:
        return AgentStore(config.state / AGENTS_FILE, masters=masters)
    return AgentStore(config.state / AGENTS_COPY, masters=masters, shared=database)


def agents_database(config: Config) -> AgentsDatabase | None:
    """Return the database of `agents.store`, if it is set. Raises ConfigError, AgentsDatabaseError."""
    setting = config.agents.store
    if setting is None:
        return None
    url = Secret(setting)
    if setting.startswith(REFERENCES):
        found = config.resolve(SecretRef.parse(setting), "agents.store")
        if isinstance(found, Problem):
            raise ConfigError([found])
        url = found
    if not url.reveal().startswith(("postgresql://", "postgres://")):
        text = "must be the URL of a PostgreSQL database: postgresql://USER@HOST/DATABASE"
        raise ConfigError([config.problem("agents.store", text)])
    if find_spec("psycopg") is None:
        text = "needs the package psycopg. Install Wirekey with the extra postgresql: pip install 'wirekey[postgresql]'"
        raise ConfigError([config.problem("agents.store", text)])
    from wirekey.server.agents_database import AgentsDatabase

    return AgentsDatabase(url)


def copy_agents(agents: AgentStore) -> None:
    """Copy the agents of `agents.store` at a start. If the database is away, use an earlier copy, or wait.

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
            if not is_away(error):
                raise
            if not waits:
                logger.warning("%s There is no copy of the agents. Wirekey waits until it can read them.", error)
            waits = True
            time.sleep(RETRY)
        else:
            return


def is_away(error: UserError) -> bool:
    """Return whether an error of the agents' database can end by itself."""
    import psycopg

    from wirekey.core.audit.postgres_connection import may_pass

    return isinstance(error.__cause__, psycopg.Error) and may_pass(error.__cause__)


def agents_follower(config: Config) -> AgentsFollower | None:
    """Return the thread that copies the agents of `agents.store`, not started yet. Raises ConfigError, UserError."""
    if (database := agents_database(config)) is None:
        return None
    from wirekey.server.agents_following import AgentsFollower

    return AgentsFollower(database, agent_store(config))


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
