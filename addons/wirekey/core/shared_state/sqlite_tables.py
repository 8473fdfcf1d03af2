"""The tables of the shared state in SQLite, and what is read from them. `now`: Unix seconds."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from wirekey.core.sqlite_file import create_private

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 0.5
"""Seconds to wait for a lock. A transaction holds it for some 50 microseconds."""
MESSAGES_KEPT = 60.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS stored (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (key TEXT PRIMARY KEY, full_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (key TEXT PRIMARY KEY, spent INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations (
    id TEXT NOT NULL, key TEXT NOT NULL, amount INTEGER NOT NULL, expires REAL NOT NULL, PRIMARY KEY (id, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reservations_of_key ON reservations (key, expires, amount);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT, topic TEXT, message BLOB, sent REAL
);
"""
SET = "INSERT OR REPLACE INTO stored VALUES (?, ?, ?)"
SET_BUCKET = "INSERT OR REPLACE INTO buckets VALUES (?, ?)"
RESERVE = "INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?)"


def opened(path: Path) -> sqlite3.Connection:
    """Open the file, or create it with access for its user only. Raises sqlite3.Error, OSError."""
    create_private(path)
    database = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        database.executescript(SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database


def clean(database: sqlite3.Connection, now: float) -> None:
    """Remove what has expired."""
    for statement in (
        "DELETE FROM stored WHERE expires <= ?",
        "DELETE FROM buckets WHERE full_at <= ?",
        "DELETE FROM totals WHERE expires <= ?",
        "DELETE FROM reservations WHERE expires <= ?",
    ):
        database.execute(statement, (now,))
    database.execute("DELETE FROM messages WHERE sent <= ?", (now - MESSAGES_KEPT,))


def value_of(database: sqlite3.Connection, key: str, now: float) -> bytes | None:
    """Return the value of a key that has not expired."""
    row = database.execute("SELECT value FROM stored WHERE key = ? AND expires > ?", (key, now)).fetchone()
    return row[0] if row else None


def full_at_of(database: sqlite3.Connection, key: str, now: float) -> float:
    """Return when a bucket is full."""
    row = database.execute("SELECT full_at FROM buckets WHERE key = ?", (key,)).fetchone()
    return row[0] if row else now


def spent_of(database: sqlite3.Connection, key: str, now: float) -> int | None:
    """Return the total of a budget, or None if it is not known."""
    row = database.execute("SELECT spent FROM totals WHERE key = ? AND expires > ?", (key, now)).fetchone()
    return row[0] if row else None


def reserved_of(database: sqlite3.Connection, key: str, now: float) -> int:
    """Return the sum of the live reservations of a budget."""
    query = "SELECT sum(amount) FROM reservations WHERE key = ? AND expires > ?"
    (amount,) = database.execute(query, (key, now)).fetchone()
    return amount or 0


def end(database: sqlite3.Connection, reservation: str) -> None:
    """Remove a reservation."""
    database.execute("DELETE FROM reservations WHERE id = ?", (reservation,))
