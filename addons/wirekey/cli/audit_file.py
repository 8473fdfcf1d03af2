"""Read access to the audit file for the commands."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from wirekey.config import Config


@contextlib.contextmanager
def audit_file(config: Config) -> Iterator[sqlite3.Connection]:
    """Open the audit file for reading, and close it at the end. Raises AuditFileError."""
    from wirekey.audit.schema import open_for_reading

    with reading_errors(), contextlib.closing(open_for_reading(config.state / "audit.db")) as database:
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
