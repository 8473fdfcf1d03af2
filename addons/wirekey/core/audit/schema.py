"""The audit file: its tables, its version, how it is opened, and what its errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
from operator import itemgetter
from typing import TYPE_CHECKING

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.core.audit.event import FIELDS, LABEL_NAMES, NAMES, OUTCOME_NAMES
from wirekey.core.audit.fields import ATTEMPT_FIELDS
from wirekey.core.audit.filters import INDEXED_LABELS, label_form
from wirekey.core.sqlite_file import create_private

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 9
OLDER_VERSIONS = (4, 5, 6, 7, 8)
"""Versions of files that are updated when Wirekey starts."""
SQL_TYPES = {
    "text": "TEXT",
    "integer": "INTEGER",
    "number": "REAL",
    "boolean": "INTEGER",
}

# Rows are ordered by insertion (rowid), by which `tail` finds new ones. The partial index contains only the calls in
# progress, so that a start after a crash finds them without reading years of calls.
SCHEMA = f"""
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES ({VERSION});
CREATE TABLE calls (
    {", ".join(f"{field.name} {SQL_TYPES[field.column_type]}" for field in FIELDS)},
    PRIMARY KEY (id)
);
CREATE INDEX calls_in_progress ON calls (outcome) WHERE outcome IS NULL;
"""  # noqa: S608  # of our own names

ATTEMPTS = f"""
CREATE TABLE IF NOT EXISTS attempts (
    {", ".join(f"{field.name} {SQL_TYPES[field.column_type]}" for field in ATTEMPT_FIELDS)},
    PRIMARY KEY (call_id, number)
) WITHOUT ROWID
"""
"""A separate table, added to files of earlier versions. Programs that do not know it are not affected."""

LABEL = label_form("json_extract({column}, '$.{name}')")
LABEL_INDEXES = "".join(
    f"CREATE INDEX IF NOT EXISTS calls_by_{name} ON calls ({LABEL(name)}, id) WHERE {LABEL(name)} IS NOT NULL;"
    for name in INDEXED_LABELS
)
"""Calls without the label are in none of them."""

CHAIN = """
CREATE TABLE IF NOT EXISTS chain (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS chain_head (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints (seq INTEGER NOT NULL, document TEXT NOT NULL)
"""
"""The links of the hash chain, the last of them, and the signed checkpoints. Separate tables, as that of attempts."""
READ_HEAD = "SELECT chain, seq, hash FROM chain_head"
SET_HEAD = "UPDATE chain_head SET seq = ?, hash = ?"
BEGIN_CHAIN = "INSERT INTO chain_head VALUES (?, 0, ?)"
LINK = "INSERT INTO chain VALUES (?, ?, ?, ?)"
CHECKPOINT = "INSERT INTO checkpoints VALUES (?, ?)"

PLACES = ", ".join("?" * len(FIELDS))
INSERT = f"INSERT INTO calls VALUES ({PLACES})"  # noqa: S608  # of our own names
REPLACE = f"INSERT OR REPLACE INTO calls VALUES ({PLACES})"  # noqa: S608  # of our own names
# The intent has stored the labels already. To set them again would write their indexes again.
SET_AT_END = ("model", *(name for name in OUTCOME_NAMES if name not in LABEL_NAMES))
UPDATE = f"UPDATE calls SET {', '.join(f'{name} = ?' for name in SET_AT_END)} WHERE id = ?"  # noqa: S608  # of our own names
of_update = itemgetter(*(("model", *OUTCOME_NAMES, "id").index(name) for name in (*SET_AT_END, "id")))
"""Returns the values of `UPDATE` from the row of an outcome."""
ATTEMPT = f"INSERT OR REPLACE INTO attempts VALUES ({', '.join('?' * len(ATTEMPT_FIELDS))})"  # noqa: S608  # of our own names
IN_PROGRESS = f"SELECT {', '.join(NAMES)} FROM calls WHERE outcome IS NULL"  # noqa: S608  # of our own names
ATTEMPTS_OF = "SELECT * FROM attempts WHERE call_id = ? ORDER BY number"
INTERRUPT_ATTEMPTS = """
UPDATE attempts SET failure = 'interrupted' WHERE duration_ms IS NULL AND call_id = ?
"""
TRIAL = "PRAGMA user_version = 0"
"""Changes nothing but writes a page. An UPDATE to the same value would not."""

SYNCHRONOUS = {"commit": "NORMAL", "fsync": "FULL"}
CHECKPOINT_PAGES = 4000
"""Pages of 4 KiB after which the log is moved into the database. Rarely, because this step waits for the disk."""
LOG_BYTES_KEPT = 64 * 1024 * 1024

REASONS = {
    sqlite3.SQLITE_FULL: "the disk of the audit file is full",
    sqlite3.SQLITE_READONLY: "the audit file is read-only",
    sqlite3.SQLITE_BUSY: "another program has locked the audit file",
    sqlite3.SQLITE_LOCKED: "another program has locked the audit file",
    sqlite3.SQLITE_IOERR: "the disk of the audit file reports an error",
    sqlite3.SQLITE_CORRUPT: "the audit file is damaged",
    sqlite3.SQLITE_NOTADB: "the audit file is damaged",
    sqlite3.SQLITE_CANTOPEN: "the audit file cannot be opened",
    sqlite3.SQLITE_PERM: "the permissions of the audit file forbid writing",
}


class AuditFileError(AuditDatabaseError):
    """The audit file cannot be used. The message names the file and the fix."""


def reason_of(error: Exception) -> str:
    """Return why SQLite failed, without the path of the file, because clients see it."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "the audit file cannot be written"
    return REASONS.get(code & 0xFF, f"the audit file cannot be written ({error})")


def open_for_writing(path: Path, durability: str, patience: float) -> sqlite3.Connection:
    """Open the audit file, or make it, for its one writer. `patience`: seconds to wait for another's lock.

    `commit` survives the death of the process: what is committed is in the system's hands. `fsync` survives the loss
    of power too. Raises AuditFileError; a file of another kind is not changed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_links(path)
        create_private(path)
        if path.stat().st_uid == os.geteuid():
            path.chmod(0o600)
    except OSError as error:
        raise AuditFileError(f"The audit file {path} cannot be written: {error.strerror}.") from error
    database = sqlite3.connect(
        str(path), timeout=patience, isolation_level=None, check_same_thread=False, cached_statements=16
    )
    try:
        prepare(database, durability)
    except sqlite3.Error as error:
        database.close()
        raise unusable(path, error) from error
    try:
        if version_of(database, path) in OLDER_VERSIONS:
            database.executescript(update_of(database))
        check_version(database, path)
        database.execute(ATTEMPTS)
        database.executescript(f"BEGIN IMMEDIATE; {CHAIN}; {LABEL_INDEXES} COMMIT;")
    except AuditFileError:
        database.close()
        raise
    except sqlite3.Error as error:
        database.close()
        raise unusable(path, error) from error
    return database


def prepare(database: sqlite3.Connection, durability: str) -> None:
    """Set the pragmas of the writer, and create the tables in a new file."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
    database.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_KEPT}")
    if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the audit file beside its writer. Raises AuditFileError, also if it does not exist yet."""
    if not path.exists():
        raise AuditFileError(
            f"There is no audit file {path}. No call was recorded yet, or the state folder is elsewhere."
        )
    try:
        refuse_links(path)
    except OSError as error:
        raise AuditFileError(f"The audit file {path} cannot be read: {error.strerror}.") from error
    try:
        # Not mode=ro: a reader of a write-ahead log must be able to create the index that readers share.
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=5, isolation_level=None)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    try:
        database.execute("PRAGMA query_only = 1")
        check_version(database, path)
    except (sqlite3.Error, AuditFileError) as error:
        database.close()
        raise unusable(path, error) if isinstance(error, sqlite3.Error) else error from error
    return database


def refuse_links(path: Path) -> None:
    """Raise OSError if the audit file, or a file of SQLite beside it, is a symbolic link, which SQLite would follow."""
    for ending in ("", "-wal", "-shm", "-journal"):
        file = path.with_name(path.name + ending)
        if file.is_symlink():
            raise OSError(errno.ELOOP, f"{file.name} is a symbolic link. Move it away", str(file))


def version_of(database: sqlite3.Connection, path: Path) -> int:
    """Return the version of an audit file. Raises AuditFileError if the file belongs to another program."""
    try:
        version: int = database.execute("SELECT version FROM schema_version").fetchone()[0]
    except (sqlite3.Error, TypeError) as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) != sqlite3.SQLITE_ERROR:
            raise unusable(path, error) from error
        raise AuditFileError(
            f"{path} is a database, but not an audit file of Wirekey. It was not changed: move it away."
        ) from error
    return version


def update_of(database: sqlite3.Connection) -> str:
    """Return the statements that update a file of an older version. Fields are only ever added as the last ones."""
    statements = ""
    for table, fields in (("calls", FIELDS), ("attempts", ATTEMPT_FIELDS)):
        known = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
        missing = (field for field in fields if known and field.name not in known)
        statements += "".join(
            f"ALTER TABLE {table} ADD COLUMN {one.name} {SQL_TYPES[one.column_type]};" for one in missing
        )
    return f"BEGIN IMMEDIATE; {statements} UPDATE schema_version SET version = {VERSION}; COMMIT;"  # noqa: S608  # of our own names


def check_version(database: sqlite3.Connection, path: Path) -> None:
    """Raise AuditFileError if the file belongs to another program or has another version."""
    version = version_of(database, path)
    if version in OLDER_VERSIONS:
        raise AuditFileError(f"The audit file {path} has version {version}. Wirekey updates it when it next starts.")
    if version != VERSION:
        raise AuditFileError(
            f"The audit file {path} has version {version}; this Wirekey reads only version {VERSION}. It was not "
            "changed: use the Wirekey that wrote it, or move it away."
        )


def unusable(path: Path, error: Exception) -> AuditFileError:
    """Return the error for a file that SQLite cannot use."""
    return AuditFileError(
        f"The audit file {path} cannot be used: {reason_of(error)} ({error}). It was not changed: restore a "
        "copy, or move it and its -wal and -shm files away to start a new one."
    )
