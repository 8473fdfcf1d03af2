"""Read access to the record for the commands."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.audit.record import RecordConnection
    from wirekey.config import Config


@contextlib.contextmanager
def audit_file(config: Config) -> Iterator[RecordConnection]:
    """Open the record for reading, and close it at the end. Raises AuditFileError, AuditDatabaseError."""
    from wirekey.audit.record import open_record
    from wirekey.server.record import record_address

    with reading_errors(), open_record(record_address(config)) as database:
        yield database


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """Turn an error of SQLite into an AuditFileError."""
    import sqlite3

    from wirekey.audit.schema import AuditFileError

    try:
        yield
    except sqlite3.Error as error:
        raise AuditFileError(f"the audit file cannot be read: {error}") from error
