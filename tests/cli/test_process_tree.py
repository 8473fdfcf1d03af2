"""The processes below another one, also those of another session, that ignore SIGTERM, or that are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.support.running import wait_for
from wirekey.cli.process_tree import below, end_below, parents_by_ps, parents_on_linux

PARENT = """
import subprocess, sys, time
ignores = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", ignores], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_process_that_ignores_sigterm_and_one_that_is_stopped_are_ended():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        lower = int(parent.stdout.readline())
        assert below(parent.pid) == [lower]
        os.kill(lower, signal.SIGSTOP)
        end_below(parent.pid, 0.2)
        assert below(parent.pid) == []
        parent.kill()


def test_ps_shows_the_same_parents_as_the_kernel():
    assert parents_by_ps()[os.getpid()] == parents_on_linux()[os.getpid()] == os.getppid()


def test_a_process_that_has_ended_is_not_below():
    child = subprocess.Popen([sys.executable, "-c", ""])
    wait_for(lambda: child.pid not in below(os.getpid()), "the end of the child")
    assert child.wait() == 0
