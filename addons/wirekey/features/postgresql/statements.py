"""The statements with which a writer stores rows in PostgreSQL. Rows are one parameter, a JSON array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.core.audit.event import ATTEMPT_NAMES, FIELDS, NAMES, OUTCOME_NAMES
from wirekey.core.audit.fields import ATTEMPT_FIELDS
from wirekey.features.postgresql.schema import SQL_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.audit.rows import AuditRow

END_NAMES = ("model", *OUTCOME_NAMES, "id")
TYPES = {field.name: SQL_TYPES[field.type] for field in (*FIELDS, *ATTEMPT_FIELDS)}
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


def json_rows(names: Sequence[str], rows: Sequence[AuditRow]) -> str:
    """Return rows as a JSON array of objects, without values that are None."""
    objects = [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]
    return encode(objects).decode()
