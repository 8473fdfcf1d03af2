"""What an event of a stream in two directions costs: python -m tests.benchmarks.two_way [--rounds N] [--events N]

CPU time of the proxy for each event of 20 ms of sound that a client sends over Bedrock's two-way operation, as one
record each, in mitmdump, which streams it unread, and in Wirekey, which verifies it and signs it again. Interleaved
rounds, in microseconds. Exits with 1 if Wirekey needs more than 1.2 times as much.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from tests.benchmarks import proxies
from tests.support.aws_signing import REAL, signing_simulator
from tests.support.two_way_client import PREPARATION, TwoWayClient, payload_of
from wirekey.core.identity.agents import AgentStore
from wirekey.core.secret import Secret

MOST = 1.2
PACE = 0.0005
"""Seconds between two events, so that each arrives alone."""
SOUND = {"audioInput": {"promptName": "p", "contentName": "c", "content": "A" * 856}}
"""640 bytes in base64."""


@contextlib.contextmanager
def wirekey(folder: Path, simulator) -> Iterator[tuple[int, SimpleNamespace]]:
    folder.mkdir()
    port = proxies.free_port()
    pair = {"access_key": "env:REAL_ID", "secret_key": "env:REAL_SECRET"}
    configuration = {
        "listen": {"forward": f"127.0.0.1:{port}", "gateway": None, "console": None},
        "state": str(folder / "state"),
        "certs": str(folder / "certs"),
        "upstream_ca_file": str(simulator.ca_file),
        "providers": {"bedrock": {"aws": pair, "upstream_url": simulator.url}},
        "log": {"level": "warning"},
    }
    (folder / "wirekey.yaml").write_text(json.dumps(configuration))
    arguments = [sys.executable, "-m", "wirekey", "serve", "--config", str(folder / "wirekey.yaml")]
    environ = proxies.as_installed() | {"REAL_ID": REAL[0], "REAL_SECRET": REAL[1]}
    with proxies.process(arguments, folder, environ) as running:
        proxies.wait_for_file(folder / "state" / "running.json")
        proxies.wait_for_port(port)
        agents = AgentStore(folder / "state" / "agents.json")
        agents.add("alice")
        time.sleep(2)  # until it knows the agent
        root = folder / "certs" / "mitmproxy-ca-cert.pem"
        place = SimpleNamespace(forward=f"127.0.0.1:{port}")
        yield running.pid, SimpleNamespace(running=place, root=root, pair=agents.pair("alice"), port=443)


@contextlib.contextmanager
def mitmdump(folder: Path, simulator) -> Iterator[tuple[int, SimpleNamespace]]:
    port = int(simulator.url.rpartition(":")[2])
    (folder.parent / "ca.pem").write_bytes(simulator.ca_file.read_bytes())
    with proxies.bare_mitmdump(folder, port, streaming=True) as (pid, target):
        pair = SimpleNamespace(access_key=REAL[0], secret=Secret(REAL[1]))
        place = SimpleNamespace(forward=f"127.0.0.1:{target.proxy_port}")
        yield pid, SimpleNamespace(running=place, root=target.ca, pair=pair, port=port)


def measure(pid: int, proxy: SimpleNamespace, events: int) -> float:
    """Return the microseconds of CPU time for each event of one connection."""
    with TwoWayClient(proxy, port=proxy.port) as client:
        client.begin()
        client.tell(*PREPARATION, {"contentStart": {"promptName": "p", "contentName": "c", "role": "USER"}})
        signed = [client.sign(payload_of(SOUND)) for _ in range(events)]
        ending = client.sign(payload_of({"contentEnd": {"promptName": "p", "contentName": "c"}}))
        before = proxies.cpu_seconds(pid)
        for event in signed:
            make_room(client)
            client.send(event)
            time.sleep(PACE)
        client.send(ending)
        client.until_heard("usageEvent")
        return (proxies.cpu_seconds(pid) - before) / events * 1e6


def make_room(client: TwoWayClient) -> None:
    """Read until the window allows another event."""
    while client.http.state.local_flow_control_window(client.stream) < 4096:
        client.http.receive()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=3000)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {"mitmdump": [], "wirekey": []}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "simulator").mkdir()
        simulator = signing_simulator(Path(folder) / "simulator")
        with (
            mitmdump(Path(folder) / "mitmdump", simulator) as bare,
            wirekey(Path(folder) / "wirekey", simulator) as ours,
        ):
            for _ in range(arguments.rounds):
                found["mitmdump"].append(measure(*bare, arguments.events))
                found["wirekey"].append(measure(*ours, arguments.events))
        simulator.stop()
    within = sorted(mine / other for mine, other in zip(found["wirekey"], found["mitmdump"], strict=True))
    for name, values in found.items():
        print(f"{name:<10}{statistics.median(values):8.1f} µs an event")
    ratio = statistics.median(within)
    print(f"ratio     {ratio:8.2f} ({within[0]:.2f} to {within[-1]:.2f}), at most {MOST}")
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
