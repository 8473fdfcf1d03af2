"""Read access to the audit log for the commands."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.core.audit.audit_log import AuditConnection


@contextlib.contextmanager
def audit_file(config: Config) -> Iterator[AuditConnection]:
    """Open the audit log for reading, and close it at the end. Raises AuditFileError, AuditDatabaseError."""
    from wirekey.core.audit.audit_log import open_audit_log
    from wirekey.server.audit_store import audit_address

    with reading_errors(), open_audit_log(audit_address(config)) as database:
        yield database


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """Turn an error of SQLite into an AuditFileError."""
    import sqlite3

    from wirekey.core.audit.schema import AuditFileError

    try:
        yield
    except sqlite3.Error as error:
        raise AuditFileError(f"the audit file cannot be read: {error}") from error
