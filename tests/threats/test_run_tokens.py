"""R45: the token of a program that `exec` runs ends with the run, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.running import bare_environment, wait_for
from tests.support.serving import serving, wirekey

READY_THEN_WAIT = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
NAMES_SIGNALS = """
import os, signal, sys
def note(number, _):
    os.write(1, signal.Signals(number).name.encode() + b"\\n")  # print() may be running
    os._exit(3)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), note)
print(os.getpid(), flush=True)
while True:
    signal.pause()
"""
ENDING = ["SIGHUP", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"]

WITH_USUAL_SIGNALS = f"""
import os, signal, sys
for name in {ENDING}:
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command that ignores no signal, also if the tests run under nohup or in the background."""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("wirekey")) as found:
        found.add_agent("alice")
        yield found


@pytest.fixture
def start(running):
    """Start `exec` with a Python program that prints its process id, and return both. Its token is alice's last one."""
    started = []

    def start(script: str, *arguments: str) -> tuple[subprocess.Popen, int]:
        command = ["-m", "wirekey", "exec", "--agent", "alice", "--", sys.executable, "-c", script, *arguments]
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_USUAL_SIGNALS, sys.executable, *command],
            cwd=running.folder,
            env=bare_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def tokens(running) -> list:
    return [token for token in running.agents.agent("alice").tokens if token.label == "exec"]


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("name", ENDING)
def test_R45_a_signal_to_exec_reaches_the_program_and_the_token_ends_with_it(running, start, name):
    process, _ = start(NAMES_SIGNALS, *ENDING)
    assert len(tokens(running)) == 1
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == (f"{name}\n", 3)
    assert tokens(running) == []


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT"])
def test_R45_a_program_that_a_signal_ends_ends_its_token(running, start, name):
    process, _ = start(READY_THEN_WAIT)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name)
    assert tokens(running) == []


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells a process that its parent has ended.")
def test_R45_the_program_ends_if_exec_is_killed_and_its_token_ends_within_minutes(running, start):
    process, pid = start(READY_THEN_WAIT)
    process.kill()
    wait_for(lambda: has_ended(pid), "the end of the program")
    (token,) = tokens(running)
    assert token.expires_at - datetime.now(UTC) < timedelta(minutes=16)
    running.agents.drop_token("alice", token.id)


def test_R45_what_nohup_ignores_stays_ignored(running):
    script = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    ignoring = f"import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, {
        [sys.executable, '-m', 'wirekey', 'exec', '--agent', 'alice', '--', sys.executable, '-c', script]!r
    })"
    done = subprocess.run(
        [sys.executable, "-c", ignoring],
        cwd=running.folder,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "True\n", done


def test_R45_no_signal_is_blocked_in_the_program(running):
    script = "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    assert wirekey(running.folder, "exec", "--", "python", "-c", script).stdout == "[]\n"
