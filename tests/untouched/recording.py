"""Records the calls of real SDKs: the bytes of both directions of each connection to the simulator."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.running import SimulatorThread
from tests.untouched.messages import Message, http1_messages, http2_messages
from wirekey_simulator.certificate import prepare_certificate

PROTOCOLS = ("h2", "http/1.1")


@dataclass
class Recorded:
    """The bytes of one connection."""

    protocol: str
    requests: bytearray = field(default_factory=bytearray)
    responses: bytearray = field(default_factory=bytearray)
    taken: int = 0
    """How many exchanges have been returned already."""

    def exchanges(self) -> list[tuple[Message, Message]]:
        """Return each request with its response."""
        if self.protocol == "h2":
            sent, received = http2_messages(bytes(self.requests)), http2_messages(bytes(self.responses))
            return [(sent[stream], received[stream]) for stream in sent]
        return list(zip(http1_messages(bytes(self.requests)), http1_messages(bytes(self.responses)), strict=True))


class Recorder:
    """A server before the simulator, with its certificate. It passes on all bytes of both directions.

    All of it runs in the simulator's event loop: two threads must not use one TLS connection, which may stall or crash.
    """

    def __init__(self, folder: Path, simulator: SimulatorThread) -> None:
        self.connections: list[Recorded] = []
        self.simulator = simulator
        self.ca_file = simulator.ca_file
        self.relays: set[asyncio.Task] = set()
        certificate, _ = prepare_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.set_alpn_protocols(PROTOCOLS)
        self.server = simulator.do(asyncio.start_server(self.relay, "127.0.0.1", 0, ssl=context))
        self.url = f"https://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def new_exchanges(self) -> list[tuple[Message, Message]]:
        """Return what was exchanged since the last time. Programs keep connections for later calls."""
        found = []
        for connection in list(self.connections):
            exchanges = connection.exchanges()
            found += exchanges[connection.taken :]
            connection.taken = len(exchanges)
        return found

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.relays.add(asyncio.current_task())
        recorded = Recorded(writer.get_extra_info("ssl_object").selected_alpn_protocol() or "http/1.1")
        trusted = ssl.create_default_context(cafile=self.ca_file)
        trusted.set_alpn_protocols([recorded.protocol])
        port = int(self.simulator.url.rpartition(":")[2])
        from_server, to_server = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusted, server_hostname="localhost"
        )
        self.connections.append(recorded)
        await asyncio.gather(
            copy(reader, to_server, recorded.requests),
            copy(from_server, writer, recorded.responses),
        )

    def close(self) -> None:
        self.simulator.do(self._close())

    async def _close(self) -> None:
        self.server.close()
        for relay in self.relays:
            relay.cancel()
        await asyncio.gather(*self.relays, return_exceptions=True)


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, into: bytearray) -> None:
    """Pass on bytes until the source ends, then end the target."""
    try:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                into += data
                target.write(data)
                await target.drain()
    finally:
        target.close()
