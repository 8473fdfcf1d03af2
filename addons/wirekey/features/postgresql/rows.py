"""Sends rows and their links to PostgreSQL, and reads the calls that a process left open.

The rows of a statement are one parameter, a JSON array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wirekey.core.audit.chain import links_of
from wirekey.core.audit.event import ATTEMPT_NAMES, FIELDS, NAMES, OUTCOME_NAMES
from wirekey.core.audit.fields import ATTEMPT_FIELDS
from wirekey.core.audit.rows import Rows
from wirekey.features.postgresql.schema import SQL_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from psycopg import Cursor

    from wirekey.core.audit.chain import LastLink
    from wirekey.core.audit.rows import AuditRow
    from wirekey.features.postgresql.connection import LimitedConnection


END_NAMES = ("model", *OUTCOME_NAMES, "id")
TYPES = {field.name: SQL_TYPES[field.column_type] for field in (*FIELDS, *ATTEMPT_FIELDS)}
encode = msgspec.json.Encoder().encode


def recordset(names: Sequence[str]) -> str:
    """Return SQL that makes rows with these columns of a JSON parameter."""
    return f"json_to_recordset(%s::json) AS given({', '.join(f'{name} {TYPES[name]}' for name in names)})"


COLUMNS = ", ".join(NAMES)
INSERT = f"INSERT INTO calls ({COLUMNS}, writer) SELECT {COLUMNS}, %s FROM {recordset(NAMES)}"  # noqa: S608  # of our own names
REPLACE = f"{INSERT} ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in NAMES[1:])}"
UPDATE = (
    f"UPDATE calls SET {', '.join(f'{name} = given.{name}' for name in END_NAMES[:-1])} FROM {recordset(END_NAMES)}"  # noqa: S608  # of our own names
    " WHERE calls.id = given.id AND calls.id >= %s AND calls.id <= %s AND calls.outcome IS NULL"
)
ATTEMPT = (
    f"INSERT INTO attempts ({', '.join(ATTEMPT_NAMES)}) SELECT {', '.join(ATTEMPT_NAMES)}"  # noqa: S608  # of our own names
    f" FROM {recordset(ATTEMPT_NAMES)} ON CONFLICT (call_id, number) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in ATTEMPT_NAMES[2:])
)
LINK = (
    "INSERT INTO chain SELECT %s, seq, kind, id, decode(hash, 'hex') FROM"
    " json_to_recordset(%s::json) AS given(seq bigint, kind text, id text, hash text)"
)
SET_HEAD = "UPDATE chain_head SET seq = %s, hash = %s, seen = now() WHERE writer = %s AND owner = %s"
MOVED = "INSERT INTO spools VALUES (%s, %s) ON CONFLICT (spool) DO UPDATE SET moved = excluded.moved"


class RowMismatchError(Exception):
    """A call that has ended is not in the database as an open call."""


class LostChainError(Exception):
    """Another process has claimed the chain of this one."""


class SentStatement(NamedTuple):
    """A statement in a pipeline. If it has not changed the expected number of rows, `mistake` is the reason."""

    cursor: Cursor[tuple[Any, ...]]
    expected: int
    mistake: Exception


def send(
    connection: LimitedConnection, rows: Rows, head: LastLink, writer: int, owner: str
) -> tuple[LastLink, list[SentStatement]]:
    """Send the rows and their links, in a pipeline of the connection.

    `head`: the last link of the chain. Returns the new last link, and the statements to check when the pipeline ends.
    """
    sent: list[SentStatement] = []
    if rows.intents:
        connection.execute(INSERT, [writer, json_rows(NAMES, rows.intents)])
    if rows.next_attempts:
        tried = [row for attempts in rows.next_attempts for row in attempts]
        connection.execute(ATTEMPT, [json_rows(ATTEMPT_NAMES, tried)])
    if rows.outcomes:
        ids = [str(row[-1]) for row in rows.outcomes]
        given = [json_rows(END_NAMES, rows.outcomes), min(ids), max(ids)]
        sent.append(SentStatement(connection.execute(UPDATE, given), len(ids), RowMismatchError()))
    if rows.finals:
        connection.execute(REPLACE, [writer, json_rows(NAMES, rows.finals)])
    if rows.attempts:
        connection.execute(ATTEMPT, [json_rows(ATTEMPT_NAMES, rows.attempts)])
    if not (rows.intents or rows.ends):
        return head, sent
    links, new_head = links_of(rows, head)
    given_links = [{"seq": seq, "kind": kind, "id": one, "hash": hash_.hex()} for seq, kind, one, hash_ in links]
    connection.execute(LINK, [writer, encode(given_links).decode()])
    changed = connection.execute(SET_HEAD, [new_head.seq, new_head.hash, writer, owner])
    sent.append(SentStatement(changed, 1, LostChainError()))
    return new_head, sent


def interrupted_rows(connection: LimitedConnection, writer: int) -> Rows:
    """Return the open calls of a writer, with the outcome `interrupted`."""
    found = connection.execute(
        f"SELECT {COLUMNS} FROM calls WHERE writer = %s AND outcome IS NULL".encode(),  # noqa: S608  # of our own names
        [writer],
    ).fetchall()
    rows = Rows()
    for values in found:
        event = dict(zip(NAMES, values, strict=True)) | {"outcome": "interrupted"}
        rows.outcomes.append(tuple(event[name] for name in END_NAMES))
        rows.attempts += _interrupted_attempts(connection, values[0])
    return rows


def _interrupted_attempts(connection: LimitedConnection, call_id: str) -> list[AuditRow]:
    read = f"SELECT {', '.join(ATTEMPT_NAMES)} FROM attempts WHERE call_id = %s ORDER BY number"  # noqa: S608  # of our own names
    tried = connection.execute(read.encode(), [call_id]).fetchall()
    failure, duration = ATTEMPT_NAMES.index("failure"), ATTEMPT_NAMES.index("duration_ms")
    return [
        (*row[:failure], "interrupted", *row[failure + 1 :]) if row[duration] is None else tuple(row) for row in tried
    ]


def json_rows(names: Sequence[str], rows: Sequence[AuditRow]) -> str:
    """Return rows as a JSON array of objects, without values that are None."""
    objects = [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]
    return encode(objects).decode()
