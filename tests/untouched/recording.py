"""Records the calls of real SDKs: the bytes of both directions of each connection to the simulator."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
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
    """A server before the simulator, with its certificate. It passes on all bytes of both directions."""

    def __init__(self, folder: Path, simulator: SimulatorThread) -> None:
        self.connections: list[Recorded] = []
        self.address = ("127.0.0.1", int(simulator.url.rpartition(":")[2]))
        self.ca_file = simulator.ca_file
        server, _ = prepare_certificate(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(server)
        self.context.set_alpn_protocols(PROTOCOLS)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def new_exchanges(self) -> list[tuple[Message, Message]]:
        """Return what was exchanged since the last time. Programs keep connections for later calls."""
        found = []
        for connection in list(self.connections):
            exchanges = connection.exchanges()
            found += exchanges[connection.taken :]
            connection.taken = len(exchanges)
        return found

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.relay, args=(connection,), daemon=True).start()

    def relay(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as client:
            recorded = Recorded(client.selected_alpn_protocol() or "http/1.1")
            trusted = ssl.create_default_context(cafile=self.ca_file)
            trusted.set_alpn_protocols([recorded.protocol])
            with (
                socket.create_connection(self.address) as bare,
                trusted.wrap_socket(bare, server_hostname="localhost") as server,
            ):
                self.connections.append(recorded)
                back = threading.Thread(target=copy, args=(server, client, recorded.responses), daemon=True)
                back.start()
                copy(client, server, recorded.requests)
                back.join()

    def close(self) -> None:
        self.listener.close()


def copy(source: ssl.SSLSocket, target: ssl.SSLSocket, into: bytearray) -> None:
    """Pass on bytes until the source ends, then end the target."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            into += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
