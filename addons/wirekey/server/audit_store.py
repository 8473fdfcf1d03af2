"""Opens the audit log that `audit.store` names."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError, Problem
from wirekey.config.secrets import SecretRef
from wirekey.core.audit.store import AuditStore
from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.audit.audit_log import AuditAddress
    from wirekey.core.audit.checkpoints import CheckpointKey
    from wirekey.core.audit.store import AuditDatabase

LIMIT_SHARE = 0.6
"""Share of `audit.timeout` that one step may take, so that a failure is reported, or spooled, before it has passed."""
SPOOL_PATIENCE = 0.05


def audit_address(config: Config) -> AuditAddress:
    """Return the audit file, or the URL of the audit database. Raises ConfigError."""
    store = config.audit.store
    if store is None:
        return config.state / "audit.db"
    if store.startswith(("env:", "file:", "keyring:")):
        found = config.resolve(SecretRef.parse(store), "audit.store")
        if isinstance(found, Problem):
            raise ConfigError([found])
        url = found
    else:
        url = Secret(store)
    text = url.reveal()
    if text.startswith("sqlite:///"):
        return config.folder / text.removeprefix("sqlite:///")
    if not text.startswith(("postgresql://", "postgres://")):
        text = "must be the URL of a database: sqlite:///PATH or postgresql://USER@HOST/DATABASE"
        raise ConfigError([config._sources.problem("audit.store", text)])  # noqa: SLF001  # of the setting
    if importlib.util.find_spec("psycopg") is None:
        text = (
            "needs the package psycopg. Install Wirekey with the extra postgresql: "
            ".venv/bin/python -m pip install 'psycopg[binary]'"
        )
        raise ConfigError([config._sources.problem("audit.store", text)])  # noqa: SLF001  # of the setting
    return url


def audit_place(config: Config) -> str:
    """Return what the audit log is called in messages, without a password. Raises ConfigError."""
    address = audit_address(config)
    if isinstance(address, Path):
        return str(address)
    from wirekey.core.audit.postgres_connection import place_of

    return place_of(address)


def audit_store(config: Config, key: CheckpointKey, interrupted: tuple[str, ...] = ("",)) -> AuditStore:
    """Return the store of the audit log, not started yet. Raises ConfigError.

    `interrupted`: the ends of the ids of calls that a process left in progress when it died. In PostgreSQL, each
    process knows its own.
    """
    settings, address = config.audit, audit_address(config)
    if isinstance(address, Path):
        return AuditStore(
            address,
            settings.durability,
            key=key,
            checkpoints_to=settings.checkpoints_file,
            recovered=interrupted,
            replica=replica_name(config),
        )

    def open_database() -> AuditDatabase:
        from wirekey.core.audit.postgres import PostgresAudit
        from wirekey.core.audit.spool import SpooledAudit, SpoolFile, WriterName

        writer = WriterName(config.state)
        database = PostgresAudit(
            address,
            writer.name,
            durability=settings.durability,
            limit=settings.timeout * LIMIT_SHARE,
            key=key,
            also_to=settings.checkpoints_file,
        )
        if settings.on_failure == "refuse":
            database.open()
            return database
        database.connect_patience = SPOOL_PATIENCE
        return SpooledAudit(database, SpoolFile(writer.spool), writer.name)

    return AuditStore(
        address, settings.durability, settings.timeout, database=open_database, replica=replica_name(config)
    )


def replica_name(config: Config) -> str:
    """Return the name of this process in the events: the setting, or HOST:PID."""
    return config.replica or f"{socket.gethostname()}:{os.getpid()}"
