"""A test that hangs fails, and the run goes on with the next one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WAYS = {
    "a thread that waits": "def test_hangs(): threading.Event().wait()",
    "a coroutine that waits": "async def test_hangs(): await asyncio.Event().wait()",
    "a test that computes": "def test_hangs():\n    while True: pass",
    "a fixture that waits": "@pytest.fixture\ndef f(): threading.Event().wait()\ndef test_hangs(f): pass",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_hung_test_fails_and_the_next_one_runs(tmp_path, way):
    file = tmp_path / "test_hanging.py"
    file.write_text(f"import asyncio, threading\nimport pytest\n{WAYS[way]}\ndef test_next(): pass\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "--rootdir",
            ROOT,
            "-c",
            ROOT / "pyproject.toml",
            file,
        ],
        cwd=ROOT,
        env=os.environ | {"WIREKEY_TEST_SECONDS": "1.5"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    assert "The test ran for more than 1.5 s" in done.stdout
    assert "1 passed" in done.stdout
    assert "most recent call first" in done.stdout, "the stacks of the threads are printed"
