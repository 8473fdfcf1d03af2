"""The tables of the audit log in PostgreSQL, and the numbered migrations that make them.

All tables are in the schema `wirekey`. `calls` and `chain` have the same columns as in an audit file, and two more:
`writer` is the chain that a call's intent or a link belongs to. Each running Wirekey writes a chain of its own.

Calls are partitioned by month. An id begins with the time of its call, so the ranges are ranges of ids.

`hourly_counts` and `hourly_times` have sums of ended calls: those of all chains up to the links in `rolled_up`, of
hours from `rollup.begins` on. They start empty, and existing calls are added in the background.
`daily_times` has the same by day, because groups have many rows an hour. Each dimension is a partition, so that reading
one does not read the others.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.core.audit.event import FIELDS
from wirekey.core.audit.fields import ATTEMPT_FIELDS
from wirekey.core.audit.filters import INDEXED_LABELS, first_id_at, label_form

if TYPE_CHECKING:
    from typing import Any

    import psycopg

SQL_TYPES = {"text": "text", "integer": "bigint", "number": "double precision", "boolean": "boolean"}
LABEL = label_form("({column}::json ->> '{name}')")
LOCK = 0x7769726B
"""The class of our advisory locks. Object 0: migrations and partitions. Others: the writer of this number."""


def column(name: str, type_: str) -> str:
    """Return the definition of a column. Ids are compared by their bytes, as everywhere else."""
    return f"{name} {SQL_TYPES[type_]}{' COLLATE "C"' if name in ('id', 'call_id') else ''}"


MIGRATIONS = (
    f"""
CREATE TABLE calls (
    {", ".join(column(field.name, field.column_type) for field in FIELDS)},
    writer integer NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX calls_by_agent ON calls (agent_id, id);
CREATE INDEX calls_in_progress ON calls (writer) WHERE outcome IS NULL;
CREATE TABLE attempts (
    {", ".join(column(field.name, field.column_type) for field in ATTEMPT_FIELDS)},
    PRIMARY KEY (call_id, number)
);
CREATE TABLE chain (
    writer integer NOT NULL, seq bigint NOT NULL, kind text NOT NULL, id text COLLATE "C" NOT NULL, hash bytea NOT NULL,
    PRIMARY KEY (writer, seq)
);
CREATE TABLE chain_head (
    writer integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, chain text NOT NULL UNIQUE, seq bigint NOT NULL,
    hash bytea NOT NULL, owner text NOT NULL UNIQUE, seen timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE checkpoints (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, chain text NOT NULL, seq bigint NOT NULL,
    document text NOT NULL
);
CREATE INDEX checkpoints_by_chain ON checkpoints (chain, seq);
CREATE TABLE spools (spool text PRIMARY KEY, moved bigint NOT NULL);
""",
    """
CREATE TABLE rollup (begins bigint NOT NULL);
INSERT INTO rollup VALUES (0);
CREATE TABLE rolled_up (writer integer PRIMARY KEY, seq bigint NOT NULL);
CREATE TABLE hourly_counts (
    dimension text NOT NULL, name text COLLATE "C" NOT NULL, start bigint NOT NULL, recorded bigint NOT NULL,
    calls bigint NOT NULL, denials bigint NOT NULL, errors bigint NOT NULL, declined bigint NOT NULL,
    input_tokens numeric, output_tokens numeric, cost_usd numeric,
    PRIMARY KEY (dimension, start, name)
) WITH (fillfactor = 70);
CREATE TABLE hourly_times (
    dimension text NOT NULL, name text COLLATE "C" NOT NULL, start bigint NOT NULL, kind text NOT NULL,
    bin integer NOT NULL, count bigint NOT NULL, least double precision NOT NULL, most double precision NOT NULL,
    PRIMARY KEY (dimension, start, name, kind, bin)
) PARTITION BY LIST (dimension);
CREATE TABLE daily_times (LIKE hourly_times INCLUDING ALL) PARTITION BY LIST (dimension);
"""
    + "".join(
        f"CREATE TABLE {table}_{dimension} PARTITION OF {table} FOR VALUES IN ('{dimension}') WITH (fillfactor = 70);\n"
        for table in ("hourly_times", "daily_times")
        for dimension in ("all", "agent", "role", "type", "model", "provider")
    ),
    # A new database has these columns from the first migration on, which makes one for each field.
    """
ALTER TABLE calls ADD COLUMN IF NOT EXISTS audio_input_tokens bigint;
ALTER TABLE calls ADD COLUMN IF NOT EXISTS audio_output_tokens bigint;
ALTER TABLE calls ADD COLUMN IF NOT EXISTS parent_id text;
""",
    "ALTER TABLE calls ADD COLUMN IF NOT EXISTS rolled_up_messages bigint",
    """
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS translation text;
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS adjusted text;
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS dropped text;
""",
    "ALTER TABLE calls ADD COLUMN IF NOT EXISTS replica text",
    "ALTER TABLE calls ADD COLUMN IF NOT EXISTS service_tier text",
    """
ALTER TABLE calls ADD COLUMN IF NOT EXISTS labels text;
ALTER TABLE calls ADD COLUMN IF NOT EXISTS labels_unverified text;
ALTER TABLE calls ADD COLUMN IF NOT EXISTS labels_invalid text;
"""
    + "".join(
        f"CREATE INDEX calls_by_{name} ON calls (({LABEL(name)}), id) WHERE {LABEL(name)} IS NOT NULL;\n"
        for name in INDEXED_LABELS
    ),
    "CREATE TABLE deliveries (name text PRIMARY KEY, document text NOT NULL)",
)
"""Each is applied once, in order, in one transaction. Only new ones are added, at the end."""


def migrate(connection: psycopg.Connection[Any], place: str) -> None:
    """Create or update the tables. Raises AuditDatabaseError if a newer Wirekey made them, and psycopg.Error."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", [LOCK])
        connection.execute("CREATE SCHEMA IF NOT EXISTS wirekey")
        connection.execute("CREATE TABLE IF NOT EXISTS wirekey.schema_version (version integer NOT NULL)")
        found = connection.execute("SELECT version FROM wirekey.schema_version").fetchone()
        version = found[0] if found else 0
        check_version(version, place)
        for statements in MIGRATIONS[version:]:
            connection.execute(statements.encode())
        if version < len(MIGRATIONS):
            connection.execute("DELETE FROM wirekey.schema_version")
            connection.execute("INSERT INTO wirekey.schema_version VALUES (%s)", [len(MIGRATIONS)])
        make_partitions(connection, datetime.now(UTC))


def check_version(version: int, place: str) -> None:
    """Raise AuditDatabaseError if a newer Wirekey made the tables."""
    if version > len(MIGRATIONS):
        raise AuditDatabaseError(
            f"{place} has tables of version {version}; this Wirekey knows versions up to {len(MIGRATIONS)}. Nothing "
            "was changed: use the newer Wirekey that made them."
        )


def make_partitions(connection: psycopg.Connection[Any], now: datetime) -> None:
    """Create the partitions of the last month, this one and the next one, within a transaction that holds the lock."""
    first = month_start(month_start(now) - timedelta(days=1))
    for _ in range(3):
        after = month_start(first + timedelta(days=32))
        name = f"calls_{first:%Y_%m}"
        if connection.execute("SELECT to_regclass(%s)", [f"wirekey.{name}"]).fetchone() == (None,):
            begin, end = first_id_at(first.timestamp()), first_id_at(after.timestamp())
            bounds = f"FROM ('{begin}') TO ('{end}')"
            connection.execute(f"CREATE TABLE wirekey.{name} PARTITION OF wirekey.calls FOR VALUES {bounds}".encode())
        first = after


def month_start(moment: datetime) -> datetime:
    """Return the first moment of a month."""
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
