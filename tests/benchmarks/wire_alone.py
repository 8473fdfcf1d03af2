"""A proxy that has only the wire layer.

It identifies nobody, decides, records and counts nothing, and sends the same request with a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from mitmproxy import options
from mitmproxy.proxy.layers import ClientTLSLayer

from tests.benchmarks import proxies
from tests.benchmarks.load import Target
from tests.benchmarks.systems import Cores, System
from tests.wire.bare_proxy import BareDelegate
from wirekey.core.wire.connection_handler import skip_outer_layers
from wirekey.core.wire.connection_pool import ConnectionPool
from wirekey.core.wire.delegate import WireLimits
from wirekey.core.wire.install import install
from wirekey.server.master import ServeMaster
from wirekey.server.memory import freeze_startup_objects


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
    with proxies.process([sys.executable, "-m", __name__, *given], place) as running:
        cores.pin(running.pid)
        proxies.wait_for_port(port)
        target = Target(port, "api.openai.com", 443, str(place / "mitmproxy-ca-cert.pem"))
        yield System("wire layer alone", running.pid, {"forward": target})


def main() -> None:
    port, folder, upstream_port, ca = sys.argv[1:]
    asyncio.run(serve(int(port), folder, int(upstream_port), ca))


if __name__ == "__main__":
    main()
