"""Opens the audit log that `audit.store` names."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError
from wirekey.config.values import database_problem
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.feature_registry import parts
from wirekey.server.database_server import DatabaseServer

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.audit.audit_log import AuditDatabase
    from wirekey.core.audit.checkpoints import CheckpointKey


def audit_database(config: Config) -> AuditDatabase:
    """Return the audit log of a configuration. Nothing is opened yet. Raises ConfigError."""
    settings = config.audit
    path = config.state / "audit.db"
    if settings.store is not None:
        url = config.secret_of(settings.store, "audit.store")
        text = url.reveal()
        for part in parts(DatabaseServer):
            if found := part.audit(config, url):
                return found
        if not text.startswith("sqlite:///"):
            problem = database_problem(text) or (
                "must be the URL of a database: sqlite:///PATH or postgresql://USER@HOST/DATABASE"
            )
            raise ConfigError([config.problem("audit.store", problem)])
        path = config.folder / text.removeprefix("sqlite:///")
    return SqliteAudit(path, settings.durability, settings.checkpoints_file)


def audit_store(config: Config, key: CheckpointKey, interrupted: tuple[str, ...] = ("",)) -> AuditStore:
    """Return the store of the audit log, not started yet. Raises ConfigError.

    `interrupted`: the ends of the ids of calls that a process left in progress when it died.
    """
    return AuditStore(audit_database(config), key=key, recovered=interrupted, replica=replica_name(config))


def replica_name(config: Config) -> str:
    """Return the name of this process in the events: the setting, or HOST:PID."""
    return config.replica or f"{socket.gethostname()}:{os.getpid()}"
