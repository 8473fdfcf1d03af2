"""How fast a large record in PostgreSQL is read: python -m tests.benchmarks.large_audit [--rows N] [--days D]

Starts a server, fills its database with calls of the last days, and prints its size and the times of `audit stats
--since 1d`, of the console's week by agent, and of `audit list --agent`: medians of three. Exits with 1 if one of them
takes more than a second. The hourly sums are those that a running Wirekey keeps.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from tests.support.postgres_server import PostgresServer
from wirekey.core.audit.filters import Filters
from wirekey.core.audit.reading import latest
from wirekey.core.audit.totals import totals
from wirekey.core.secret import Secret
from wirekey.features.console.recorded import Recorded
from wirekey.features.postgresql.database import PostgresDatabase
from wirekey.features.postgresql.rollup import roll_up
from wirekey.features.postgresql.schema import make_partitions, migrate

MOST_SECONDS = 1.0
ROWS_AT_ONCE = 500_000
AGENTS = 50
ID = (
    "concat_ws('-', left(hex, 8), substr(hex, 9, 4), '7' || substr(md5(n::text), 1, 3),"
    " '8' || substr(md5(n::text), 4, 3), substr(md5(n::text), 7, 12))"
)
FILL = f"""
INSERT INTO calls (id, time, agent_id, agent_role, agent_type, client, provider, operation, method, path,
    requested_model, model, stream, message_count, has_system, has_tools, tool_count, max_tokens, policy_result,
    policy_reason, policy_revision, route, credential, upstream, attempts, status, outcome, finish_reason, input_tokens,
    output_tokens, cost_usd, request_bytes, response_bytes, ttfb_ms, duration_ms, simulated, writer)
SELECT {ID}, to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'agent-' || n %% {AGENTS},
    'developer', 'cli', '10.1.2.3', (ARRAY['openai', 'gemini', 'anthropic', 'bedrock'])[1 + n %% 4],
    'chat.completions', 'POST', '/v1/chat/completions', 'model-' || n %% 8, 'model-' || n %% 8, true, 3, true, false, 0,
    1000, CASE WHEN n %% 50 = 0 THEN 'deny' ELSE 'allow' END, NULL, 'abcdef012345', 'default', 'openai/1',
    'api.openai.com', 1, CASE WHEN n %% 50 = 0 THEN 403 ELSE 200 END,
    CASE WHEN n %% 50 = 0 THEN 'denied' WHEN n %% 33 = 0 THEN 'upstream_error' ELSE 'completed' END, 'stop',
    (random() * 4000)::bigint, (random() * 900)::bigint, random() / 50, 2000, 4000, exp(random() * 4 + 3),
    exp(random() * 4 + 5), false, 1
FROM (
    SELECT n, to_timestamp(ms / 1000.0) AS moment, lpad(to_hex(ms), 12, '0') AS hex
    FROM (SELECT n, (%(start)s + n * %(step)s)::bigint AS ms FROM generate_series(%(first)s, %(last)s) AS n) AS numbered
) AS timed
"""  # values are bound
LINKS = """
INSERT INTO chain SELECT 1, row_number() OVER (ORDER BY id) + %(before)s, 'final', id, '\\x00'
FROM calls WHERE id > %(after)s
"""


def fill(url: str, rows: int, days: int) -> None:
    """Fill the database with calls that are spread evenly over the last days, and bring the sums up to date."""
    began = time.monotonic()
    with psycopg.connect(
        url, autocommit=True, options="-c search_path=wirekey -c synchronous_commit=off"
    ) as connection:
        migrate(connection, "the database")
        connection.execute("INSERT INTO chain_head (chain, seq, hash, owner) VALUES ('filled', 0, '', 'filled')")
        start, step = (time.time() - days * 86_400) * 1000, days * 86_400_000 / rows
        with connection.transaction():
            for day in range(0, days, 28):
                make_partitions(connection, datetime.now(UTC) - timedelta(days=day))
        after = ""
        for first in range(0, rows, ROWS_AT_ONCE):
            last = min(rows, first + ROWS_AT_ONCE)
            connection.execute(FILL, {"start": start, "step": step, "first": first, "last": last - 1})
            connection.execute(LINKS, {"before": first, "after": after})
            after = str(one(connection, "SELECT max(id) FROM calls"))
        connection.execute("UPDATE chain_head SET seq = %s", [rows])
        connection.execute("VACUUM ANALYZE")
        print(f"{rows} calls were written in {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        while roll_up(connection, ROWS_AT_ONCE):
            pass
        connection.execute("VACUUM ANALYZE hourly_counts, hourly_times, daily_times")
        print(f"and summed up by the hour in {time.monotonic() - began:.0f} s", flush=True)
        for name, tables in (("calls", "calls%"), ("the chain", "chain%"), ("sums", "%ly_%")):
            size = one(
                connection,
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
                f" WHERE relnamespace = 'wirekey'::regnamespace AND relkind = 'r' AND relname LIKE '{tables}'",
            )
            print(f"{name}: {int(size) / rows:.0f} bytes a call", flush=True)


def one(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> object:
    """Return the value of a statement with one."""
    found = connection.execute(statement.encode()).fetchone()
    assert found
    return found[0]


def median_seconds(server: PostgresServer, ask: Callable[[], object]) -> tuple[float, float]:
    """Return the median time of three, and that of the processor time, after a first one that warms up.

    The processor time is that of this process and of the server. On a busy machine, it is the better figure.
    """
    times = []
    for _ in range(4):
        began, before = time.perf_counter(), time.process_time() + server_seconds(server)
        ask()
        seconds = time.perf_counter() - began
        time.sleep(0.2)  # until the server has noticed that the session has ended
        times.append((seconds, time.process_time() + server_seconds(server) - before))
    wall, cpu = zip(*times[1:], strict=True)
    return statistics.median(wall), statistics.median(cpu)


def server_seconds(server: PostgresServer) -> float:
    """Return the processor time of the sessions that have ended."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def questions(record: PostgresDatabase) -> dict[str, Callable[[], object]]:
    """Return what the commands and the page ask."""

    def stats() -> object:
        now = datetime.now(UTC)
        day = timedelta(days=1)
        return totals(record, since=now - day, until=now + day, bucket_seconds=86_400, by=None)

    def week() -> object:
        return asyncio.run(Recorded(record).totals("week", "agent"))

    def listed() -> object:
        with record.reading() as database:
            return latest(database, Filters(agent="agent-7"), 50)

    return {"audit stats --since 1d": stats, "the console's week by agent": week, "audit list --agent": listed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=7, help="the days over which the calls are spread")
    options = parser.parse_args()
    server = PostgresServer()
    try:
        url = server.new_database()
        fill(url, options.rows, options.days)
        times = {
            name: median_seconds(server, ask)
            for name, ask in questions(PostgresDatabase(Secret(url), server.folder)).items()
        }
    finally:
        server.remove()
    for name, (seconds, of_processor) in times.items():
        print(f"{name}: {seconds:.2f} s, {of_processor:.2f} s of processor time")
    sys.exit(max(seconds for seconds, _ in times.values()) > MOST_SECONDS)


if __name__ == "__main__":
    main()
