"""The audit log and the agents of a configuration, if they are in PostgreSQL."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError
from wirekey.config.secrets import SecretRef
from wirekey.config.values import DATABASES
from wirekey.core.secret import Secret
from wirekey.features.postgresql.config import AgentsSetting, DatabaseSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.core.identity.agents import AgentStore
    from wirekey.features.postgresql.agents import AgentsDatabase
    from wirekey.features.postgresql.agents_following import AgentsFollower
    from wirekey.features.postgresql.database import PostgresDatabase


def audit_database(config: Config, url: Secret) -> PostgresDatabase | None:
    """Return the audit log at a URL, or None for a URL of another kind. Raises ConfigError."""
    if not url.reveal().startswith(DATABASES):
        return None
    if find_spec("psycopg") is None:
        text = (
            "needs the package psycopg. Install Wirekey with the extra postgresql: "
            ".venv/bin/python -m pip install 'psycopg[binary]'"
        )
        raise ConfigError([config.problem("audit.store", text)])
    from wirekey.features.postgresql.database import PostgresDatabase

    audit, settings = config.audit, config.audit.part(DatabaseSettings)
    spools = settings.on_failure == "spool"
    return PostgresDatabase(url, config.state, settings.timeout, audit.durability, spools, audit.checkpoints_file)


def agents_database(config: Config) -> AgentsDatabase | None:
    """Return the database of `agents.store`, if it is set. Raises ConfigError, AgentsDatabaseError."""
    setting = config.part(AgentsSetting).agents.store
    if setting is None:
        return None
    url = config.secret_of(setting, "agents.store")
    if not url.reveal().startswith(DATABASES):
        text = "must be the URL of a PostgreSQL database: postgresql://USER@HOST/DATABASE"
        raise ConfigError([config.problem("agents.store", text)])
    if find_spec("psycopg") is None:
        text = "needs the package psycopg. Install Wirekey with the extra postgresql: pip install 'wirekey[postgresql]'"
        raise ConfigError([config.problem("agents.store", text)])
    from wirekey.features.postgresql.agents import AgentsDatabase

    return AgentsDatabase(url)


def agents_follower(config: Config, agents: AgentStore) -> AgentsFollower | None:
    """Return the thread that copies the agents of `agents.store`, if it is set. Raises ConfigError, UserError."""
    if (database := agents_database(config)) is None:
        return None
    from wirekey.features.postgresql.agents_following import AgentsFollower

    return AgentsFollower(database, agents)


def secret_variables(config: Config) -> Iterator[str]:
    """Yield the environment variable from which the client of PostgreSQL reads a password, if it is used."""
    for key, store in (("audit.store", config.audit.store), ("agents.store", config.part(AgentsSetting).agents.store)):
        found = config.resolve(store, key) if isinstance(store, SecretRef) else store
        if (found.reveal() if isinstance(found, Secret) else str(found)).startswith(DATABASES):
            yield "PGPASSWORD"
