"""An SQLite file is created for its owner only, and one that exists keeps its locks."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from wirekey.core.sqlite_file import create_private


def test_a_new_file_is_for_its_owner_only(tmp_path):
    create_private(tmp_path / "new.db")
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_exists_keeps_the_locks_of_this_process(tmp_path):
    path = tmp_path / "in-use.db"
    create_private(path)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE t (x)")
    database.execute("BEGIN IMMEDIATE")
    create_private(path)
    code = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "database is locked" in done.stderr
    database.close()


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_no_other_kind_of_file_is_used(tmp_path, kind):
    path = tmp_path / "odd.db"
    path.symlink_to(tmp_path / "elsewhere") if kind == "link" else path.mkdir()
    with pytest.raises(OSError, match="symbolic links" if kind == "link" else "directory"):
        create_private(path)
