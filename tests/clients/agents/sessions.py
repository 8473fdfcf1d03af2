"""Runs the sessions of coding agents side by side, in a network that leads nowhere, and writes what happened.

unshare --net --mount python -m tests.clients.agents.sessions FOLDER [AGENT …]
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.clients.agents.programs import AGENTS, GATEWAY, MODES
from tests.clients.agents.trap import Trap
from tests.running import SimulatorThread, Wirekey, bare_environment, wait_for, wirekey_behind
from wirekey.config.models import SHIPPED_POLICIES

LIMIT = 200
"""Seconds after which a session is ended."""
AT_ONCE = 6


def main() -> None:
    folder = Path(sys.argv[1])
    chosen = sys.argv[2:] or list(AGENTS)
    trap = Trap(folder)
    trap.show_in_sources(GATEWAY)
    simulator = SimulatorThread(folder / "simulator")
    listen = {"forward": "127.0.0.1:0", "gateway": f"{GATEWAY}:0", "console": None}
    with wirekey_behind(
        folder / "wirekey",
        simulator,
        listen=listen,
        policy={"path": str(SHIPPED_POLICIES), "timeout": 30},
        egress={"other_hosts": "deny"},
    ) as proxy:

        def run(name: str, mode: str) -> dict:
            return session(proxy, folder / f"{name}-{mode}", name, mode)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = [(name, mode, pool.submit(run, name, mode)) for name in chosen for mode in MODES]
            sessions = {f"{name}-{mode}": future.result() for name, mode, future in running}
        for name, found in sessions.items():
            found["events"] = [event for event in proxy.events() if event["agent_id"] == name]
    past = list(trap.seen)
    go_past_wirekey()
    control = wait_for(lambda: trap.seen[len(past) :] if len(trap.seen) >= len(past) + 2 else None, "the trap")
    (folder / "sessions.json").write_text(json.dumps({"sessions": sessions, "past": past, "control": control}))


def go_past_wirekey() -> None:
    """Do what no agent may do, to prove that it would be seen."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo("past.example", 443, socket.AF_INET)
    socket.create_connection(("192.0.2.1", 443), timeout=5).close()


def session(proxy: Wirekey, folder: Path, name: str, mode: str) -> dict:
    """Run one agent to its end. Returns its exit code and output, the file that it wrote, and the seconds it took."""
    agent = AGENTS[name]
    work, home = folder / "work", folder / "home"
    work.mkdir(parents=True)
    home.mkdir()
    subprocess.run(["git", "init", "--quiet", str(work)], check=True)  # agents work in repositories
    environment = bare_environment() | agent.variables | {"HOME": str(home)}
    proxy.add_agent(folder.name)
    wirekey = [sys.executable, "-m", "wirekey", "exec", "--config", str(proxy.folder / "wirekey.yaml")]
    options = ["--agent", folder.name, *(["--gateway"] if mode == "gateway" else [])]
    began = time.monotonic()
    process = subprocess.Popen(
        [*wirekey, *options, "--", *agent.arguments(work)],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate()
        output += b"\n(ended after the time limit)"
    note = work / "note.txt"
    return {
        "code": process.returncode,
        "output": output.decode(errors="replace"),
        "note": note.read_text() if note.exists() else None,
        "seconds": time.monotonic() - began,
    }


if __name__ == "__main__":
    main()
