"""When a test fails, the log of each server that it uses is printed."""

import subprocess
import sys
from pathlib import Path

TEST = """
import subprocess, sys
from tests.support.running import log_of

def server(folder, text):
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen([sys.executable, "-c", f"print({text!r})"], stdout=output)
    log_of(folder / "output.txt", process)
    process.wait()

def test_that_passes(tmp_path):
    server(tmp_path, "said by the first")

def test_that_fails(tmp_path):
    server(tmp_path, "said by the second")
    assert not tmp_path
"""


def test_a_failing_test_prints_the_logs_of_its_servers_only(tmp_path):
    (tmp_path / "test_it.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(tmp_path), "-c", "/dev/null"]
    checkout = Path(__file__).parents[1]
    done = subprocess.run(
        [*command, str(tmp_path / "test_it.py")],
        cwd=checkout,
        env={"PYTHONPATH": f"{checkout}:{checkout / 'addons'}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "log of " in done.stdout
    assert "\nsaid by the second\n" in done.stdout
    assert "\nsaid by the first\n" not in done.stdout
