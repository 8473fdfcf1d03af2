"""HAProxy with the configuration in `deploy`, in front of replicas on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.redis_server import unprivileged
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind, wait_for

ROOT = Path(__file__).parents[2]
LISTENERS = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}


def haproxy_program() -> str:
    """Return the path of HAProxy, or skip the test."""
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    return program


class Balancer:
    """HAProxy with the configuration in `deploy`, for replicas on this machine. It has the listeners of a Wirekey.

    `source`: its own address for connections to the replicas. `files`: its hard limit of open files.
    """

    def __init__(
        self, program: str, folder: Path, replicas: list[Wirekey], *, source: str = "", files: int | None = None
    ) -> None:
        text = (ROOT / "deploy/haproxy.cfg").read_text()
        forward, gateway = free_port(), free_port()
        text = text.replace("bind :8080", f"bind 127.0.0.1:{forward}").replace(
            "bind :8000", f"bind 127.0.0.1:{gateway}"
        )
        text = text.replace(" resolvers dns init-addr last,libc,none", "").replace("inter 1s", "inter 200ms")
        if source:
            text = text.replace("# source 127.0.0.2", f"source {source}")
        lines = []
        for line in text.splitlines():
            name, _, port = line.strip().rpartition(":")
            if name.startswith("server wirekey1 "):
                for number, replica in enumerate(replicas):
                    address = replica.running.forward if port == "8080" else replica.running.gateway
                    check = replica.running.console.rpartition(":")[2]
                    lines.append(f"    server replica{number} {address} port {check}")
            elif not name.startswith("server wirekey"):
                lines.append(line)
        # Outside of the folder of the tests, which only their user may enter.
        self.file = tempfile.NamedTemporaryFile("w", suffix=".cfg")  # noqa: SIM115  # until HAProxy has read it
        self.file.write("\n".join(lines) + "\n")
        self.file.flush()
        Path(self.file.name).chmod(0o644)
        self.output = folder / "haproxy.txt"
        limited = ["prlimit", f"--nofile={files}:{files}"] if files else []
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*limited, program, "-db", "-f", self.file.name],
                stdout=output,
                stderr=output,
                cwd="/",
                **unprivileged(),
            )
        self.running = type("Listeners", (), {"forward": f"127.0.0.1:{forward}", "gateway": f"127.0.0.1:{gateway}"})
        self.root = replicas[0].root
        wait_for(self.is_up, "HAProxy")

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        try:
            with urllib.request.urlopen(f"http://{self.running.gateway}/health", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.file.close()


@contextlib.contextmanager
def fleet_behind(
    program: str, folder: Path, simulator: SimulatorThread, **settings
) -> Iterator[tuple[Balancer, list[Wirekey]]]:
    """Run three replicas with the same agents and CA behind HAProxy. The first one has the `token` of an agent."""
    settings = {
        "listen": {**LISTENERS, "proxy_protocol": ["127.0.0.1"]},
        "limits": {"connections_per_client": 5000},
        **settings,
    }
    with contextlib.ExitStack() as stack:
        replicas: list[Wirekey] = []
        for number in range(3):
            place = folder / f"replica{number}"
            if replicas:
                shutil.copytree(replicas[0].certs, place / "certs")
            replica = Wirekey(place, behind(simulator, **settings), environ=KEY_ENVIRONMENT)
            stack.callback(replica.stop, signal.SIGINT)
            # The next start must use the same ports.
            configuration = json.loads((place / "wirekey.yaml").read_text())
            for name in LISTENERS:
                configuration["listen"][name] = getattr(replica.running, name)
            (place / "wirekey.yaml").write_text(json.dumps(configuration))
            replicas.append(replica)
        replicas[0].token = replicas[0].add_agent()
        for replica in replicas[1:]:
            shutil.copy(replicas[0].state / "agents.json", replica.state)
        balancer = Balancer(program, folder, replicas)
        stack.callback(balancer.stop)
        yield balancer, replicas
