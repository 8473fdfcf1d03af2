"""`wirekey exec` with limits: its program calls the simulator until they are reached."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.features.quotas.runs.conftest import CHAT, LISTEN
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, Wirekey, behind, wait_for
from wirekey.core.command_name import COMMAND
from wirekey.core.identity.runs import LimitChange
from wirekey.core.identity.stored_runs import StoredRuns
from wirekey.features.quotas.runs.program import EXHAUSTED

PROGRAM = f"""
import os, sys, time, httpx
chat = {CHAT!r}
url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + "/chat/completions"
headers = {{"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "x-simulator": "tokens=1000"}}
codes = []
with httpx.Client(verify=__import__("ssl").create_default_context(cafile=os.environ["SSL_CERT_FILE"])) as client:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        response = client.post(url, json=chat, headers=headers, timeout=30)
        codes.append(response.status_code)
        if response.status_code != 200:
            print(response.text)
            ENDING
        print(response.status_code, flush=True)
"""
GIVES_UP = PROGRAM.replace("ENDING", "sys.exit(3)")
PERSISTS = PROGRAM.replace("ENDING", "time.sleep(0.1)")
BUDGET = 0.05
RESERVED = 1001 * 10e-6 + 100 * 2.5e-6
"""The largest cost of one call, in dollars."""
both_modes = pytest.mark.parametrize("options", [(), ("--gateway",)], ids=["HTTPS_PROXY", "gateway"])


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), behind(simulator, listen=LISTEN), environ=KEY_ENVIRONMENT)
    running.add_agent("alice")
    yield running
    running.stop()


def start(proxy: Wirekey, name: str, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "wirekey", "exec", "--config", "wirekey.yaml", "--agent", "alice", "--run", name]
    return subprocess.Popen(
        [*command, *words],
        cwd=proxy.folder,
        env=proxy.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def spent(proxy: Wirekey, name: str) -> dict:
    command = [sys.executable, "-m", "wirekey", "runs", "show", name, "--json", "--config", "wirekey.yaml"]
    shown = subprocess.run(
        command,
        cwd=proxy.folder,
        env=proxy.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(shown.stdout)


@both_modes
def test_a_program_ends_within_its_budget_and_its_use_is_printed(proxy, options):
    name = f"within-{len(options)}"
    child = start(proxy, name, "--budget", str(BUDGET), *options, "--", sys.executable, "-c", GIVES_UP)
    printed, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 3, said  # the program's own code
    extend = f"{COMMAND} runs extend {name} --budget +5"
    assert f"The run {name} has used $0.05 of $0.05. To extend it: {extend}" in printed
    calls = printed.splitlines().count("200")
    assert re.search(rf"wirekey: the run {name} has used {calls} calls, [\d,]+ tokens, \$0.05 of \$0.05", said)
    model = rf"wirekey:   {CHAT['model']}: {calls + 1} calls, 1 refused, [\d,]+ tokens in, [\d,]+ out, \$0\.05\d\d"
    assert re.search(model, said), said
    found = spent(proxy, name)
    assert (found["calls"], found["state"]) == (calls, "ended")
    assert BUDGET <= found["spent_usd"] < BUDGET + RESERVED
    assert StoredRuns(proxy.agents).find(name).agent == "alice"


@both_modes
def test_a_program_that_does_not_give_up_is_terminated(proxy, options):
    name = f"stopped-{len(options)}"
    child = start(proxy, name, "--calls", "3", "--stop", *options, "--", sys.executable, "-c", PERSISTS)
    printed, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == EXHAUSTED, said
    assert printed.splitlines().count("200") == 3
    assert f"the run {name} has ended the program: 3 calls of 3 calls" in said
    assert f"the run {name} has used 3 of 3 calls" in said


def test_a_program_that_gives_up_as_its_budget_is_spent_ends_with_75_if_stop_is_given(proxy):
    child = start(proxy, "gave-up", "--calls", "1", "--stop", "--", sys.executable, "-c", GIVES_UP)
    child.communicate(timeout=PATIENCE)
    assert child.returncode == EXHAUSTED


@pytest.mark.parametrize("code", [0, 7])
def test_the_exit_code_is_that_of_the_program(proxy, code):
    child = start(
        proxy, f"code-{code}", "--calls", "9", "--stop", "--", sys.executable, "-c", f"raise SystemExit({code})"
    )
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == code
    assert f"the run code-{code} has used 0 of 9 calls, 0 tokens, $0.00" in said


def test_a_run_is_extended_while_its_program_runs(proxy):
    child = start(proxy, "extended", "--calls", "2", "--", sys.executable, "-c", PERSISTS)
    assert [child.stdout.readline().strip() for _ in range(2)] == ["200", "200"]
    assert "insufficient_quota" in child.stdout.readline()
    began = time.monotonic()
    StoredRuns(proxy.agents).extend("extended", {"calls": LimitChange(1, is_added=True)}, None)
    while child.stdout.readline().strip() != "200":
        assert time.monotonic() - began < PATIENCE
    child.terminate()
    _, said = child.communicate(timeout=PATIENCE)
    assert "has used 3 of 3 calls" in said


WITH_ORPHAN = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(os.environ["HTTPS_PROXY"], child.pid, flush=True)
WAITING
"""


def token_in(line: str) -> tuple[str, int]:
    address, pid = line.split()
    return re.search(r"wk_[A-Za-z0-9]{43}", address)[0], int(pid)


def test_the_token_ends_with_the_program_also_for_what_it_has_left_behind(proxy):
    child = start(proxy, "orphan", "--calls", "9", "--", sys.executable, "-c", WITH_ORPHAN.replace("WAITING", ""))
    printed, _ = child.communicate(timeout=PATIENCE)
    token, pid = token_in(printed)
    os.kill(pid, signal.SIGKILL)
    assert proxy.agents.find(token) is None


DAEMON = """
import os, subprocess, sys
script = "import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
script += " start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(child.pid)"
print(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip(), flush=True)
"""
"""Starts a process in a session of its own whose parent has ended, and prints its id."""


@pytest.mark.parametrize("program", [PERSISTS, GIVES_UP], ids=["persists", "gives up"])
def test_a_limit_ends_all_that_the_program_has_started(proxy, program):
    name = f"tree-{program is PERSISTS}"
    child = start(proxy, name, "--calls", "1", "--stop", "--", sys.executable, "-c", DAEMON + program)
    printed, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == EXHAUSTED
    with pytest.raises(ProcessLookupError):
        os.kill(int(printed.splitlines()[0]), 0)


IN_TERMINAL = """
import os, signal, time, tty
def say(*words):  # print cannot be called while it prints
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
say("terminal", os.tcgetpgrp(0) == os.getpgrp())
signal.signal(signal.SIGINT, lambda *_: say("interrupted"))
signal.signal(signal.SIGCONT, lambda *_: say("continued"))
signal.signal(signal.SIGWINCH, lambda *_: say("columns", os.get_terminal_size(0).columns))
signal.signal(signal.SIGUSR1, lambda *_: (tty.setraw(0), say("raw", os.getpid())))
say("ready", os.getpid())
while True:
    time.sleep(0.05)
"""


class Terminal:
    """A shell with job control on a terminal."""

    def __init__(self, folder, environment) -> None:
        self.shell, self.screen = pty.fork()
        if not self.shell:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment | {"PS1": "$ ", "TERM": "dumb"})
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def read(self, pattern: str) -> re.Match:
        """Wait for a text, and forget what is before it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < deadline, self.shown
            if select.select([self.screen], [], [], 1)[0]:
                self.shown += os.read(self.screen, 4096).decode(errors="replace")
        self.shown = self.shown[found.end() :]
        return found


def test_a_program_has_its_terminal_until_it_is_ended_and_the_shell_has_it_back(proxy):
    environment = proxy.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    (proxy.folder / "in_terminal.py").write_text(IN_TERMINAL)
    terminal = Terminal(proxy.folder, environment)
    try:
        command = f"{sys.executable} -m wirekey exec --config wirekey.yaml --agent alice --run tty --calls 9 --stop"
        terminal.type(f"{command} -- {sys.executable} in_terminal.py; echo code=$?\n")
        terminal.read("terminal True")
        pid = int(terminal.read(r"ready (\d+)")[1])
        terminal.type("\x03")
        terminal.read("interrupted")
        fcntl.ioctl(terminal.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 91, 0, 0))
        terminal.read("columns 91")
        terminal.type("\x1a")
        terminal.read("Stopped")
        terminal.type("fg\n")
        terminal.read("continued")
        os.kill(pid, signal.SIGUSR1)
        terminal.read(f"raw {pid}")
        StoredRuns(proxy.agents).end("tty")
        terminal.read("the run tty has ended the program: it was stopped")
        terminal.type("stty -a\n")
        settings = terminal.read(r"isig[^$]*")[0]
        assert re.search(r"(?<!-)icanon", settings)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        os.kill(terminal.shell, signal.SIGKILL)
        os.waitpid(terminal.shell, 0)
        os.close(terminal.screen)


def test_after_kill_9_of_exec_the_program_ends_and_its_token_soon(proxy):
    waiting = WITH_ORPHAN.replace("WAITING", "import time; time.sleep(600)")
    child = start(proxy, "killed", "--calls", "9", "--", sys.executable, "-c", waiting)
    token, pid = token_in(child.stdout.readline())
    agents = proxy.agents
    (record,) = [each for each in agents.agent("alice").tokens if each.run == "killed"]
    child.kill()
    child.communicate(timeout=PATIENCE)  # the pipes are closed once the program has ended, too
    os.kill(pid, signal.SIGKILL)
    now = time.time()
    assert agents.find(token).run == "killed"  # nobody has revoked it
    assert record.expires_at.timestamp() - now < 3 * 60 + 5
    assert agents.find_hash(bytes.fromhex(record.hash), now + 3 * 60 + 5) is None


def test_no_agents_aws_key_pair_is_in_the_environment(proxy):
    program = "import os; print(os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_BEARER_TOKEN_BEDROCK'])"
    child = start(proxy, "bedrock", "--calls", "9", "--gateway", "--", sys.executable, "-c", program)
    printed, _ = child.communicate(timeout=PATIENCE)
    pair, bearer = printed.split()
    assert not pair.startswith("AKIA")
    assert bearer.startswith("wk_")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--stop",), "--stop needs a limit"),
        (("--reserve", "expected"), "--reserve expected needs a limit"),
        (("--budget", "x"), "is no limit"),
        (("--run", "a b"), "not a valid"),
    ],
)
def test_wrong_options_start_nothing(proxy, words, reason):
    command = [sys.executable, "-m", "wirekey", "exec", "--config", "wirekey.yaml", "--agent", "alice", *words]
    done = subprocess.run(
        [*command, "--", sys.executable, "-c", "print('started')"],
        cwd=proxy.folder,
        env=proxy.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert reason in done.stderr
    assert "started" not in done.stdout


def test_without_limits_there_is_no_run(proxy):
    command = [sys.executable, "-m", "wirekey", "exec", "--config", "wirekey.yaml", "--agent", "alice", "--"]
    before = len(StoredRuns(proxy.agents).all())
    done = subprocess.run(
        [*command, sys.executable, "-c", "print('started')"],
        cwd=proxy.folder,
        env=proxy.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("started\n", "")
    assert len(StoredRuns(proxy.agents).all()) == before
    wait_for(lambda: not [each for each in proxy.agents.agent("alice").tokens if each.label == "exec"], "the token")
