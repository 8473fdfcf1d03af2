"""`./run.sh test` runs every test: in parallel, or after the others where it is marked `alone`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTED = ("requirements.lock", "requirements-test.lock", "pyproject.toml")
MARKED = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "tests").rglob("*.py")
    if "pytest.mark" + ".alone" in path.read_text() and "benchmarks" not in path.parts
)


@pytest.fixture
def runs(tmp_path):
    """The arguments of each Python process that `./run.sh test` starts, in a folder whose Python only prints them."""
    for name in (*LISTED, "run.sh"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/sh\nIFS="|"; echo "$*"\n')
    python.chmod(0o755)
    stamp = f"{{ pwd; cat {' '.join(LISTED)}; }} | cksum > .venv/requirements-test.lock.stamp"
    subprocess.run(["bash", "-c", stamp], cwd=tmp_path, check=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WIREKEY_")}
    done = subprocess.run(
        ["bash", "run.sh", "test"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    return [line.split("|") for line in done.stdout.splitlines()]


def test_all_other_tests_run_in_parallel(runs):
    parallel, _ = runs
    assert parallel[-2:] == ["-m", "not alone"]
    assert not [argument for argument in parallel if argument.startswith("tests/")]


@pytest.mark.parametrize("file", MARKED)
def test_a_file_with_tests_marked_alone_is_in_a_folder_that_they_are_run_from(runs, file):
    _, alone = runs
    assert alone[-2:] == ["-m", "alone"]
    folders = [argument for argument in alone if argument.startswith("tests/")]
    assert any(file.startswith(f"{folder}/") for folder in folders), "move it, or add its folder to ALONE in run.sh"


def test_some_tests_are_marked_alone():
    assert len(MARKED) > 1
