"""Only one process uses a state folder, and a dead process does not lock it."""

import os
import signal
import subprocess
import sys

import pytest

from wirekey.server.state_lock import StateInUseError, StateLock


def test_a_second_instance_fails_and_names_the_first(tmp_path):
    lock = StateLock(tmp_path / "state")
    with pytest.raises(StateInUseError, match=f"process {os.getpid()}") as refused:
        StateLock(tmp_path / "state")
    assert str(tmp_path / "state") in str(refused.value)
    lock.release()
    lock.release()
    StateLock(tmp_path / "state").release()


def test_different_folders_do_not_conflict(tmp_path):
    first, second = StateLock(tmp_path / "a"), StateLock(tmp_path / "b")
    first.release()
    second.release()


def test_a_killed_process_releases_the_lock(tmp_path):
    script = (
        "import sys, time, pathlib; from wirekey.server.state_lock import StateLock; "
        "lock = StateLock(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    process.stdout.readline()
    with pytest.raises(StateInUseError, match=f"process {process.pid}"):
        StateLock(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    StateLock(tmp_path).release()


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateInUseError, match="cannot be used"):
        StateLock(tmp_path / "file" / "state")
