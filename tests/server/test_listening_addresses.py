"""The addresses that mitmdump and mitmweb bind while they load Wirekey as a script."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.running import PATIENCE, bare_environment, wait_for
from wirekey.server.runtime import RunningProxy

BUNDLE = Path(__file__).parents[2] / "addons" / "bundle.py"
WATCH = """
import os, sys
def watch(event, arguments):
    if event == "socket.bind":
        with open(os.environ["BINDS"], "a") as file:
            file.write(repr(arguments[1]) + "\\n")
sys.addaudithook(watch)
"""


class Program:
    """mitmdump or mitmweb with the script, and a record of every bind."""

    def __init__(self, folder: Path, name: str, configuration: dict, *options: str) -> None:
        (folder / "wirekey.yaml").write_text(json.dumps(configuration))
        (folder / "sitecustomize.py").write_text(WATCH)
        self.state, self.binds, self.output = folder / "state", folder / "binds.txt", folder / "output.txt"
        command = [str(Path(sys.executable).with_name(name)), "-s", str(BUNDLE), *options]
        environment = bare_environment() | {"PYTHONPATH": str(folder), "BINDS": str(self.binds)}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)

    def bound(self) -> set[tuple]:
        return {eval(line)[:2] for line in self.binds.read_text().splitlines()} if self.binds.exists() else set()

    def is_up(self) -> RunningProxy | None:
        assert self.process.poll() is None, self.output.read_text()
        return RunningProxy.read(self.state)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)


def many_connect_while_it_is_busy(program: Program, ports: tuple[int, ...]) -> None:
    """Connect while the process accepts nothing. mitmproxy's own listeners let 101 wait; the next has no response."""
    os.kill(program.process.pid, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        stack.callback(os.kill, program.process.pid, signal.SIGCONT)
        for port in ports:
            for _ in range(150):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE / 6))


@pytest.mark.parametrize("name", ["mitmdump", "mitmweb"])
def test_the_script_binds_only_the_configured_addresses(tmp_path, name):
    forward, gateway, web = free_port(), free_port(), free_port()
    listen = {"forward": f"127.0.0.1:{forward}", "gateway": f"127.0.0.1:{gateway}", "console": None}
    options = ["--set", f"web_port={web}", "--set", "web_open_browser=false"] if name == "mitmweb" else []
    program = Program(tmp_path, name, {"listen": listen, "state": "state", "certs": "certs"}, *options)
    try:
        running = wait_for(program.is_up, f"{name} to listen")
        assert (running.forward, running.gateway) == (listen["forward"], listen["gateway"])
        many_connect_while_it_is_busy(program, (forward, gateway))
    finally:
        program.stop()
    allowed = {("127.0.0.1", port) for port in (forward, gateway, web)}
    assert ("127.0.0.1", forward) in program.bound()
    # Port 0: a look at whether the machine has IPv6, by which nobody can connect.
    assert program.bound() - {("::1", 0)} <= allowed


def test_a_failed_start_binds_nothing_that_others_can_reach(tmp_path):
    program = Program(tmp_path, "mitmdump", {"listen": {"forward": "127.0.0.1:0"}, "no_such_setting": 1})
    assert program.process.wait(PATIENCE) != 0
    assert "no_such_setting" in program.output.read_text()
    assert {host for host, _ in program.bound()} <= {"127.0.0.1", "::1"}
