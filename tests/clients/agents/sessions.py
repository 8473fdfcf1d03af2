"""Runs the sessions of coding agents side by side, in a network that leads nowhere, and writes what happened.

unshare --net --mount python -m tests.clients.agents.sessions FOLDER [AGENT …]
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.clients.agents.programs import ACCOUNTS, AGENTS, DROPPED, GATEWAY, MODES_OF, PROXY, TRANSLATED
from tests.clients.agents.trap import Trap
from tests.support.running import SimulatorThread, Wirekey, bare_environment, behind, wait_for, wirekey_behind
from tests.support.serving import wirekey
from wirekey.config.policy import SHIPPED_POLICIES

LIMIT = 200
"""Seconds after which a session is ended."""
AT_ONCE = 6
OF_THE_GATEWAY = (
    *("ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS"),
    *("CODE_ASSIST_ENDPOINT", "GEMINI_CLI_CUSTOM_HEADERS"),
)
"""Variables of an agent that its user sets in gateway mode only."""


def main() -> None:
    folder = Path(sys.argv[1])
    chosen = sys.argv[2:] or list(AGENTS)
    trap = Trap(folder)
    trap.show_in_sources(GATEWAY)
    with contextlib.ExitStack() as stack:
        proxies = {
            signed_in: stack.enter_context(serving(folder / f"signed-in-{signed_in}", signed_in=signed_in))
            for signed_in in {AGENTS[name].signed_in for name in chosen}
        }

        def run(name: str, mode: str) -> dict:
            return session(proxies[AGENTS[name].signed_in], folder / f"{name}-{mode}", name, mode)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = [(name, mode, pool.submit(run, name, mode)) for name in chosen for mode in MODES_OF[name]]
            sessions = {f"{name}-{mode}": future.result() for name, mode, future in running}
        events = [event for proxy in proxies.values() for event in proxy.events()]
        trees = [tree for proxy in proxies.values() for tree in trees_of(proxy)]
        for name, found in sessions.items():
            found["events"] = [event for event in events if event["agent_id"] == name]
            found["trees"] = [tree for tree in trees if tree["agent"] == name]
            runs = [tree["value"] for tree in found["trees"] if tree["run"]]
            found["shown"] = [wirekey(proxies[False].folder, "runs", "show", run).stdout for run in runs]
    past = list(trap.seen)
    go_past_wirekey()
    control = wait_for(lambda: trap.seen[len(past) :] if len(trap.seen) >= len(past) + 2 else None, "the trap")
    (folder / "sessions.json").write_text(json.dumps({"sessions": sessions, "past": past, "control": control}))


@contextlib.contextmanager
def serving(folder: Path, *, signed_in: bool) -> Iterator[Wirekey]:
    """Run a Wirekey. With `signed_in`, it has no key for providers of accounts, which accept their tokens only."""
    keys = ACCOUNTS if signed_in else None
    simulator = SimulatorThread(folder / "simulator", keys)
    configuration = {
        "listen": {"forward": f"{PROXY}:0", "gateway": f"{GATEWAY}:0", "console": f"{PROXY}:0"},
        "console": {"sign_in": "loopback"},
        "policy": {"path": str(SHIPPED_POLICIES), "timeout": 30},
        "egress": {"other_hosts": "deny"},
        "routes": [
            {"match": f"to-{name}", "provider": name, "model": model, "translation": {"drop": DROPPED}}
            for name, model in TRANSLATED.items()
        ],
    }
    if signed_in:
        account = {"key_source": "passthrough", "upstream_url": simulator.url}
        configuration["providers"] = behind(simulator)["providers"] | {
            "anthropic": account,
            "code_assist": account,
            "vertex": {**account, "locations": ["europe-west4"]},
        }
    with wirekey_behind(folder / "wirekey", simulator, **configuration) as proxy:
        yield proxy
    simulator.stop()


def trees_of(proxy: Wirekey) -> list[dict]:
    """Return the runs and sessions that the console shows."""
    with urllib.request.urlopen(f"http://{proxy.running.console}/console/trees", timeout=30) as response:
        return json.load(response)["trees"]


def go_past_wirekey() -> None:
    """Do what no agent may do, to prove that it would be seen."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo("past.example", 443, socket.AF_INET)
    socket.create_connection(("192.0.2.1", 443), timeout=5).close()


def session(proxy: Wirekey, folder: Path, name: str, mode: str) -> dict:
    """Run one agent to its end. Returns its exit code and output, the file that it wrote, and the seconds it took.

    `outlived`: whether a process that it has started was still there.
    """
    agent = AGENTS[name]
    work, home = folder / "work", folder / "home"
    work.mkdir(parents=True)
    home.mkdir()
    subprocess.run(["git", "init", "--quiet", str(work)], check=True)  # agents work in repositories
    for path, content in agent.files.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(json.dumps(content))
    token = proxy.add_agent(folder.name)
    chosen = {
        variable: value.format(gateway=proxy.running.gateway, token=token)
        for variable, value in agent.variables.items()
        if mode == "gateway" or variable not in OF_THE_GATEWAY
    }
    environment = bare_environment() | chosen | {"HOME": str(home)}
    wirekey = [sys.executable, "-m", "wirekey", "exec", "--config", str(proxy.folder / "wirekey.yaml")]
    options = ["--agent", folder.name, *agent.options, *(["--gateway"] if mode == "gateway" else [])]
    began, output = time.monotonic(), folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*wirekey, *options, "--", *agent.arguments(work)],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            file.write(b"\n(ended after the time limit)")
    outlived = True
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        outlived = False
    note = work / "note.txt"
    return {
        "code": process.returncode,
        "output": output.read_text(errors="replace"),
        "note": note.read_text() if note.exists() else None,
        "outlived": outlived,
        "seconds": time.monotonic() - began,
    }


if __name__ == "__main__":
    main()
