import signal
import subprocess

import pytest

from tests.support.fork_server import can_start
from tests.support.running import PATIENCE, bare_environment, fork_server

pytestmark = pytest.mark.skipif(not can_start({}), reason="only Linux reports the end of a process by a descriptor")


@pytest.fixture
def run(tmp_path):
    """Start a command; its output goes to `output.txt`."""

    def started(*arguments, **environment):
        with (tmp_path / "output.txt").open("wb") as output:
            return fork_server().start(list(arguments), tmp_path, bare_environment() | environment, output, output)

    return started


def test_output_and_exit_code_are_those_of_the_command(run, tmp_path):
    assert run("--version").wait(PATIENCE) == 0
    assert (tmp_path / "output.txt").read_text() == "0.1.0\n"
    assert run("no-such-command").wait(PATIENCE) == 2


def test_what_a_command_prints_is_kept_apart(tmp_path):
    done = fork_server().run(["--version"], tmp_path, bare_environment(), PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0.1.0\n", "")
    done = fork_server().run(["no-such-command"], tmp_path, bare_environment(), PATIENCE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no-such-command" in done.stderr


def test_folder_and_environment_are_those_asked_for(run, tmp_path):
    (tmp_path / "wirekey.yaml").write_text("providers: {openai: {keys: [env:MINE]}}")
    assert run("config", "check").wait(PATIENCE) == 1
    assert "MINE" in (tmp_path / "output.txt").read_text()
    assert run("config", "check", MINE="sk-of-the-test").wait(PATIENCE) == 0


def test_a_signal_ends_it_and_is_reported(run):
    process = run("simulator", "--port", "0")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    process.terminate()  # too late, and harmless


@pytest.mark.parametrize("name", ["SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE", "PYTHONPATH", "NO_COLOR"])
def test_variables_that_imports_read_need_a_new_process(name):
    assert not can_start(bare_environment() | {name: "changed"})
