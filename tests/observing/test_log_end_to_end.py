"""The log of a real `wirekey serve` on a terminal and in a pipe, and of mitmdump with Wirekey's addons."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.canaries import Canaries
from tests.support.own_simulator import simulator
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind, wait_for

__all__ = ["simulator"]

BUNDLE = Path(__file__).parents[2] / "addons" / "bundle.py"
CONFLICT = """package wirekey.authz
allow := true if { input.provider == "openai" }
allow := false if { input.model == "gpt-4o-mini" }
"""


class OnTerminal(Wirekey):
    """A Wirekey whose standard error is a terminal. `shown` is the output on that terminal."""

    def start(self) -> None:
        self.terminal, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wirekey", "serve", "--config", "wirekey.yaml"],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=inner,
        )
        os.close(inner)
        self.output.write_text("")
        self.shown = b""
        threading.Thread(target=self.watch, daemon=True).start()
        self.running = wait_for(self.is_up, "wirekey serve to listen")

    def watch(self) -> None:
        while True:
            try:
                self.shown += os.read(self.terminal, 65536)
            except OSError:
                return


class Mitmdump(Wirekey):
    def start(self) -> None:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                # It begins to listen before it loads a script: on a port of its own, lest another has 8080.
                [
                    *(Path(sys.executable).with_name("mitmdump"), "--mode", "regular@127.0.0.1:0"),
                    *("-s", BUNDLE, "--set", "wirekey=wirekey.yaml"),
                ],
                cwd=self.folder,
                env=self.environ | {"HOME": str(self.folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.running = wait_for(self.is_up, "mitmdump to listen")


@pytest.fixture
def serve(tmp_path, simulator):
    made: list[Wirekey] = []

    def serving(kind=Wirekey, environ=None, **more) -> Wirekey:
        configuration = behind(simulator, **({"log": {}} | more))
        proxy = kind(tmp_path / "wirekey", configuration, environ=KEY_ENVIRONMENT | (environ or {}))
        made.append(proxy)
        proxy.token = proxy.add_agent("alice", role="engineer")
        return proxy

    yield serving
    for proxy in made:
        proxy.stop(signal.SIGINT)


def chat(proxy: Wirekey, content: str = "hello", query: str = "") -> int:
    context = ssl.create_default_context(cafile=proxy.root)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}
    with httpx.Client(
        proxy=proxy.proxy_url("alice", proxy.token), verify=context, timeout=60, trust_env=False
    ) as client:
        return client.post(f"https://api.openai.com/v1/chat/completions{query}", json=body).status_code


CALL = r"200 completed.* alice +openai chat\.completions +gpt-4o-mini +\d+ in +\d+ out  \$0\.\d+ .* \d+ ms"


def test_on_a_terminal_a_call_is_one_coloured_line(serve):
    proxy = serve(OnTerminal, environ={"TERM": "xterm"})
    assert chat(proxy) == 200
    found = wait_for(lambda: re.search(rf"\d\d:\d\d:\d\d \x1b\[32m{CALL}", proxy.shown.decode()), "the call's line")
    assert proxy.finished_event()["id"][-12:] in proxy.shown.decode()[found.end() :]
    assert b"checkpoint" not in proxy.shown, "a new user sees no JSON before the banner"


def test_colours_can_be_turned_off(serve):
    proxy = serve(OnTerminal, environ={"TERM": "xterm", "NO_COLOR": "1"})
    assert chat(proxy) == 200
    wait_for(lambda: re.search(CALL, proxy.shown.decode()), "the call's line")
    assert "\x1b" not in proxy.shown.decode()


def test_in_a_pipe_each_line_is_a_json_object_without_any_content(serve):
    canaries = Canaries()
    proxy = serve(log={"level": "debug"})
    canaries.add("token", proxy.token)
    for name, key in KEY_ENVIRONMENT.items():
        canaries.add(name, key)
    assert chat(proxy, canaries("content"), f"?q={canaries('query')}") == 200
    event = proxy.finished_event()
    assert proxy.stop() == 0
    output = proxy.output.read_text()
    # The welcome, on standard output, is for people in any case.
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [line for line in lines if line["event"].startswith("audit checkpoint {")]
    (line,) = [line for line in lines if line["event"] == "call"]
    assert line["call"] == event["id"]
    shared = line.keys() & event.keys()
    assert shared > {"agent_id", "provider", "model", "outcome", "status", "input_tokens", "cost_usd", "duration_ms"}
    assert {name: line[name] for name in shared} == {name: event[name] for name in shared}
    assert canaries.found_in(output.encode()) == []


def test_an_error_in_a_call_is_logged_with_the_id_of_the_call(serve, tmp_path):
    (tmp_path / "conflict").mkdir()
    (tmp_path / "conflict" / "authz.rego").write_text(CONFLICT)
    proxy = serve(policy={"path": str(tmp_path / "conflict")})
    assert chat(proxy) == 503
    event = proxy.finished_event()
    assert proxy.stop() == 0
    lines = [json.loads(line) for line in proxy.output.read_text().splitlines() if line.startswith("{")]
    (undecided,) = [line for line in lines if "no decision" in line["event"]]
    assert undecided["call"] == event["id"]


def test_a_log_file_may_be_moved_while_wirekey_runs(serve, tmp_path):
    file = tmp_path / "log" / "wirekey.core.observing.log"
    file.parent.mkdir()
    proxy = serve(log={"file": str(file), "format": "console"})
    assert chat(proxy) == 200
    wait_for(lambda: re.search(CALL, file.read_text()), "the call's line")
    file.rename(f"{file}.1")
    assert chat(proxy) == 200
    wait_for(lambda: file.exists() and re.search(CALL, file.read_text()), "the line of the next call")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", file.read_text())


def test_mitmdump_logs_each_call_in_its_own_log(serve):
    proxy = serve(Mitmdump)
    assert chat(proxy) == 200
    wait_for(lambda: re.search(rf"\[\d\d:\d\d:\d\d\.\d+\].* {CALL}", proxy.output.read_text()), "the call's line")
