"""Rows that Wirekey never writes, as of somebody who may write to the database, break no command and no page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time

import psycopg
import pytest
from click.testing import CliRunner

from tests.features.postgresql.test_writer import opened
from tests.support.postgres_server import database, postgres
from tests.support.recorded_calls import call_of, finish
from wirekey.cli.main import group
from wirekey.core.audit.event import FIELDS
from wirekey.core.audit.filters import first_id_at
from wirekey.features.console.recorded import Recorded
from wirekey.features.postgresql.database import PostgresDatabase
from wirekey.features.postgresql.rollup import roll_up_all

__all__ = ["database", "postgres"]

ESCAPE = "\x1b]0;owned\x07\x1b[2J\n\u202e<script>alert(1)</script>" + "x" * 5000
VALUES = {
    "text": [ESCAPE, "", "=cmd|'/c calc'!A1"],
    "integer": [-(2**63), 2**63 - 1, 0],
    "number": [float("nan"), float("inf"), float("-inf")],
    "boolean": [None, True, False],
    "list": [ESCAPE, json.dumps([1, ESCAPE, None]), "{}"],
    # Not as in a list: the index of labels makes the database refuse what is no JSON.
    "texts": [json.dumps(ESCAPE), json.dumps({"run": 1, "team": ESCAPE, ESCAPE: None, "list": [{}]}), "[1]"],
}
COMMANDS = [
    ["list"],
    ["list", "--json"],
    ["list", "--agent", ESCAPE],
    ["list", "--label", "team=x"],
    ["show", "hostile-0"],
    ["show", "hostile-1", "--json"],
    ["stats"],
    *(["stats", "--by", by] for by in ("agent", "model", "provider", "label:team")),
    ["stats", "--by", "agent", "--json"],
    ["export"],
    ["export", "--format", "csv"],
    ["export", "--attempts"],
    ["verify"],
    ["verify", "--json"],
    ["prune", "--before", "1d", "--dry-run"],
]


def insert_hostile_rows(url: str) -> None:
    """Insert calls with every kind of wrong value, with links, attempts and checkpoints that are as wrong."""
    now = first_id_at(time.time())
    with contextlib.closing(psycopg.connect(url, autocommit=True, options="-c search_path=wirekey")) as connection:
        for number in range(3):
            row = {field.name: VALUES[field.type][number] for field in FIELDS}
            # Within the partition of this month, and the second one without a time in it.
            row["id"] = f"{now if number != 1 else now[:7] + 'z'}-hostile-{number}"
            row |= {"writer": 1, "outcome": "completed" if number else ESCAPE}
            names, places = ", ".join(row), ", ".join(["%s"] * len(row))
            connection.execute(f"INSERT INTO calls ({names}) VALUES ({places})".encode(), list(row.values()))
            connection.execute(
                "INSERT INTO attempts (call_id, number, upstream, failure, duration_ms) VALUES (%s, 1, %s, %s, 'NaN')",
                [row["id"], ESCAPE, ESCAPE],
            )
            connection.execute("INSERT INTO chain VALUES (1, %s, 'final', %s, %s)", [1000 + number, row["id"], b"x"])
        connection.execute("INSERT INTO chain VALUES (1, 1003, %s, %s, '')", [ESCAPE[:100], ESCAPE[:100]])
        connection.execute("UPDATE chain_head SET seq = 1003")
        for document in ("not json", "{}", '{"seq": "1"}', ESCAPE):
            connection.execute(
                "INSERT INTO checkpoints (chain, seq, document) SELECT chain, 5, %s FROM chain_head", [document]
            )


@pytest.fixture(scope="module")
def record(tmp_path_factory, postgres):
    """A record with one call of Wirekey's and hostile rows. Returns the configuration file and the database."""
    from wirekey.core.secret import Secret

    folder, url = tmp_path_factory.mktemp("hostile"), postgres.new_database()

    async def one_call() -> None:
        store = opened(Secret(url), folder)
        call = call_of()
        await store.record_intent(call)
        store.record_outcome(finish(call))
        await store.close()

    asyncio.run(one_call())
    insert_hostile_rows(url)
    roll_up_all(Secret(url), threading.Event())
    (folder / "wirekey.yaml").write_text(f"state: {folder}/state\naudit: {{store: '{url}'}}\n")
    return folder / "wirekey.yaml", PostgresDatabase(Secret(url), folder)


@pytest.mark.parametrize("command", COMMANDS, ids=[re.sub(r"[^ -~]", "", " ".join(each))[:30] for each in COMMANDS])
def test_a_command_prints_no_control_character_and_does_not_fail(record, command):
    done = CliRunner().invoke(group, ["audit", *command, "--config", str(record[0])])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (0, 1)
    assert not [character for character in done.output if not (character.isprintable() or character == "\n")]
    assert "\u202e" not in done.output
    assert "cannot be used" not in done.output
    if "--json" in command and done.exit_code == 0:
        json.loads(done.output, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_verify_names_hostile_links_and_still_ends(record):
    done = CliRunner().invoke(group, ["audit", "verify", "--config", str(record[0])])
    assert done.exit_code == 1
    assert "hostile" in done.output


@pytest.mark.parametrize("period", ["hour", "day", "week"])
@pytest.mark.parametrize("by", ["agent", "model", "provider"])
def test_the_console_shows_its_totals(record, period, by):
    found = json.loads(asyncio.run(Recorded(record[1]).totals(period, by)))
    assert found["readable"]
    assert found["all"]["counts"]["calls"] >= 3


def test_the_console_shows_its_calls(record):
    async def lists():
        page = Recorded(record[1])
        return await page.recent(), await page.denied()

    recent, denied = asyncio.run(lists())
    assert len(recent) == 4
    assert denied == []
