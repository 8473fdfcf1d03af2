"""Each change of an audit file is found by two verifiers that share no code.

One is `wirekey audit verify`. The other is the program in `docs/audit-format.md`, which needs only the standard library
and `openssl`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audit.test_verifying import KEY, cut, forge, record, verified

from wirekey.core.audit.checkpoints import read as read_checkpoints
from wirekey.core.audit.event import NAMES, OUTCOME_NAMES

PAGE = Path(__file__).parents[2] / "docs" / "audit-format.md"
PUBLIC = KEY.public.public_bytes_raw()


def program() -> str:
    [text] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return text


@pytest.fixture(scope="module")
def second():
    """The names of the page's program."""
    names = {"__name__": "verify"}
    exec(compile(program(), str(PAGE), "exec"), names)  # the code of the page
    return names


@pytest.fixture
async def path(tmp_path):
    await record(tmp_path / "audit.db", checkpoints_to=tmp_path / "checkpoints.jsonl")
    with contextlib.closing(sqlite3.connect(tmp_path / "audit.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode = DELETE")
    return tmp_path / "audit.db"


def found_by(second, path, outside=()):
    """What each of the two finds: a list of sentences."""
    ours = [problem.text for problem in verified(path, *outside).problems]
    documents = [msgspec.json.decode(point.document()) for point in outside]
    return ours, list(second["problems"](path, PUBLIC, documents))


def statements(path):
    """Yield each single change of each stored value, and of each row: removed, repeated with another id, exchanged."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for table in ("calls", "attempts", "chain", "chain_head", "checkpoints"):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            rows = database.execute(f"SELECT rowid, * FROM {table}").fetchall() if table != "attempts" else []
            if table == "attempts":
                rows = [(tuple(row[:2]), *row) for row in database.execute("SELECT * FROM attempts")]
            for key, *values in rows:
                where = "call_id = ? AND number = ?" if table == "attempts" else "rowid = ?"
                bound = key if table == "attempts" else (key,)
                for column, value in zip(columns, values, strict=True):
                    yield (
                        f"{table}.{column}",
                        f"UPDATE {table} SET {column} = ? WHERE {where}",
                        (changed(value), *bound),
                    )
                yield f"{table} removed", f"DELETE FROM {table} WHERE {where}", bound


def changed(value):
    """A value that differs in as little as possible."""
    match value:
        case None:
            return 1
        case bytes():
            return bytes([value[0] ^ 1, *value[1:]])
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case float():
            return value + 0.001
    return value + 1 if value != 1 else 0


# The intent of a call in progress covers neither: they are not known when it is stored.
UNCOVERED = {"calls.model", *(f"calls.{name}" for name in OUTCOME_NAMES if name != "outcome")}


def test_a_file_that_nobody_changed_has_no_problem(second, path):
    assert found_by(second, path) == ([], [])


def test_each_single_change_is_found_by_both(second, path, tmp_path, record_property):
    with contextlib.closing(sqlite3.connect(path)) as database:
        open_call = database.execute("SELECT rowid FROM calls WHERE outcome IS NULL").fetchone()
    missed = {}
    number = 0
    for name, statement, bound in statements(path):
        if name in UNCOVERED and bound[1:] == open_call:
            continue
        copy = tmp_path / "copy.db"
        shutil.copy(path, copy)
        with contextlib.closing(sqlite3.connect(copy)) as database:
            with contextlib.suppress(sqlite3.IntegrityError):
                database.execute(statement, bound)
            if not database.total_changes:
                continue
            database.commit()
        number += 1
        outside = read_checkpoints(tmp_path / "checkpoints.jsonl")
        for who, found in zip(("wirekey", "page"), found_by(second, copy, outside), strict=True):
            if not found:
                missed.setdefault((who, name), []).append(bound[-1])
    assert number > 350
    assert missed == {}
    record_property("changes, each found by two verifiers", number)


def test_rows_that_exchange_their_places_are_found_by_both(second, path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(
            "UPDATE chain SET seq = -seq WHERE seq IN (4, 5); UPDATE chain SET seq = 9 + seq WHERE seq < 0;"
        )
    ours, theirs = found_by(second, path)
    assert ours
    assert theirs


def test_an_inserted_call_is_found_by_both(second, path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        row = list(database.execute("SELECT * FROM calls LIMIT 1").fetchone())
        row[0] = row[0][:-4] + "ffff"
        database.execute(f"INSERT INTO calls VALUES ({', '.join('?' * len(NAMES))})", row)
        database.commit()
    ours, theirs = found_by(second, path)
    assert ours
    assert theirs


@pytest.mark.parametrize("last", range(1, 10))
def test_an_end_that_was_cut_off_is_found_by_both_with_the_checkpoints_outside(second, path, tmp_path, last):
    cut(path, last)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM checkpoints WHERE seq > 0")
        database.commit()
    ours, theirs = found_by(second, path, read_checkpoints(tmp_path / "checkpoints.jsonl"))
    assert ours
    assert theirs


def test_a_chain_that_was_written_again_is_found_by_both(second, path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        [call_id] = database.execute("SELECT id FROM calls ORDER BY id LIMIT 1 OFFSET 2").fetchone()
    forge(path, call_id)
    ours, theirs = found_by(second, path)
    assert ours
    assert theirs


def test_the_page_is_a_program(path, tmp_path):
    (tmp_path / "verify.py").write_text(program())
    command = [sys.executable, "-I", "verify.py", path, PUBLIC.hex(), "checkpoints.jsonl"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "No problems.\n")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE calls SET agent_id = 'bob' WHERE agent_id = 'mallory'")
        database.commit()
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "was changed" in said.stdout


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(deadline=None)
@given(st.dictionaries(st.text(), values))
def test_the_page_writes_json_as_the_chain_has_it(second, content):
    try:
        expected = msgspec.json.encode(content).decode()
    except (UnicodeEncodeError, OverflowError):
        return  # half a surrogate pair, which no event has, or an integer of more than 64 bits
    assert second["as_json"](content) == expected
