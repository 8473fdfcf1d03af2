"""How much of a request is the wire layer's, and how much the addons': python -m tests.benchmarks.wire_alone

Measures bare mitmdump, a proxy that has only the wire layer, and Wirekey, in turns, through the forward proxy. The wire
layer alone identifies nobody, decides, records and counts nothing, and sends the same request with a key.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mitmproxy import options
from mitmproxy.proxy.layers import ClientTLSLayer

from tests.benchmarks import load, proxies, systems
from tests.benchmarks.load import Target
from tests.benchmarks.systems import Cores, System
from tests.wire.bare_proxy import BareDelegate
from wirekey.server.master import ServeMaster
from wirekey.server.memory import freeze_startup_objects
from wirekey.wire.connection_handler import skip_outer_layers
from wirekey.wire.connection_pool import ConnectionPool
from wirekey.wire.delegate import WireLimits
from wirekey.wire.install import install

CLIENTS = (1, 16, 64)
REQUESTS = 1600


class Forwarding(BareDelegate):
    """Sends each request to the upstream, and keeps nothing of it."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__(WireLimits())
        self.upstream_port = upstream_port
        self.connection_pool = ConnectionPool()

    def next_layer(self, next_layer):
        """Choose the layer of a tunnel as Wirekey does, without dialling the provider first."""
        context = next_layer.context
        if next_layer.layer is None and len(context.layers) > 1 and next_layer.data_client().startswith(b"\x16"):
            context.server.tls = True
            next_layer.layer = ClientTLSLayer(context)
            skip_outer_layers(next_layer.layer)
        else:
            super().next_layer(next_layer)

    def requestheaders(self, flow):
        super().requestheaders(flow)
        self.flows.clear()
        flow.request.data.host, flow.request.data.port = "localhost", self.upstream_port

    def report_end(self, flow, outcome, reason=None):
        """Keep nothing."""


async def serve(port: int, folder: str, upstream_port: int, ca: str) -> None:
    install()
    master = ServeMaster(options.Options())
    master.options.update(
        mode=[f"regular@127.0.0.1:{port}"],
        connection_strategy="lazy",
        confdir=folder,
        ssl_verify_upstream_trusted_ca=ca,
    )
    master.addons.add(Forwarding(upstream_port))
    freeze_startup_objects()
    await master.run()


@contextlib.contextmanager
def wire_layer(folder: Path, upstream_port: int, cores: Cores) -> Iterator[System]:
    """Start a proxy that has only the wire layer."""
    place = folder / "wire"
    place.mkdir()
    port = proxies.free_port()
    given = [str(port), str(place), str(upstream_port), str(folder / "ca.pem")]
    with proxies.process([sys.executable, "-m", __spec__.name, "--serve", *given], place) as running:
        cores.pin(running.pid)
        proxies.wait_for_port(port)
        target = Target(port, "api.openai.com", 443, str(place / "mitmproxy-ca-cert.pem"))
        yield System("wire layer", running.pid, {"forward": target})


async def compare(running: list[System], clients: int, rounds: int) -> None:
    found: dict[str, list[float]] = {system.name: [] for system in running}
    for number in range(-1, rounds):
        for system in running[:: -1 if number % 2 else 1]:
            before = proxies.cpu_seconds(system.pid)
            await load.plain(system.targets["forward"], clients, REQUESTS)
            if number >= 0:  # the first round warms up
                found[system.name].append((proxies.cpu_seconds(system.pid) - before) * 1000 / REQUESTS)
    bare = found[running[0].name]
    for name, values in found.items():
        ratios = [value / base for value, base in zip(values, bare, strict=True)]
        print(
            f"{clients:3} clients  {name:10}  {statistics.median(values):.2f} ms/request  "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=4, metavar=("PORT", "FOLDER", "UPSTREAM", "CA"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        port, folder, upstream_port, ca = arguments.serve
        asyncio.run(serve(int(port), folder, int(upstream_port), ca))
        return
    cores = Cores.chosen()
    cores.pin_load()
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        port = stack.enter_context(proxies.upstream(folder))
        running = [
            stack.enter_context(systems.bare("forward", folder, port, cores)),
            stack.enter_context(wire_layer(folder, port, cores)),
            stack.enter_context(systems.wirekey(folder, port, cores)),
        ]
        time.sleep(1)
        for clients in CLIENTS:
            asyncio.run(compare(running, clients, arguments.rounds))


if __name__ == "__main__":
    main()
