"""Sends rows and their links to PostgreSQL, and reads the calls that a process left open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wirekey.core.audit.chain import links_of
from wirekey.core.audit.event import ATTEMPT_NAMES, NAMES
from wirekey.core.audit.rows import Rows
from wirekey.features.postgresql.statements import (
    ATTEMPT,
    COLUMNS,
    END_NAMES,
    INSERT,
    LINK,
    REPLACE,
    SET_HEAD,
    UPDATE,
    encode,
    json_rows,
)

if TYPE_CHECKING:
    from typing import Any

    from psycopg import Cursor

    from wirekey.core.audit.chain import LastLink
    from wirekey.core.audit.rows import AuditRow
    from wirekey.features.postgresql.connection import LimitedConnection


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
