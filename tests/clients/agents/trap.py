"""A network that leads nowhere: every name that is looked up and every connection to another machine is noted.

It needs a network and a mount namespace of its own (`unshare --net --mount`). There every address is this machine, so a
request past Wirekey ends here: its name at the name server, or its connection at the ports for HTTP and HTTPS.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PORTS = (80, 443, 8443, 853, 4317, 4318)
LOOPBACK = "127."
DNS_HEADER = 12
NO_SUCH_NAME = bytes([0x81, 0x83])


class Trap:
    """Notes what leaves this machine. `seen` are names that were looked up and addresses that were connected to."""

    def __init__(self, folder: Path) -> None:
        self.seen: list[str] = []
        resolver = folder / "resolv.conf"
        resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "route", "add", "local", "default", "dev", "lo"],
            ["mount", "--bind", str(resolver), "/etc/resolv.conf"],
        ):
            subprocess.run(command, check=True)
        self._names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._names.bind(("127.0.0.1", 53))
        self._start(self._refuse_names)
        for port in PORTS:
            listener = socket.create_server(("0.0.0.0", port))
            self._start(self._note_connections, listener)

    def show_in_sources(self, address: str) -> None:
        """Have connections to a loopback address come from it, so that a server sees which address was connected to."""
        command = ["ip", "route", "add", "local", f"{address}/32", "dev", "lo", "src", address, "table", "local"]
        subprocess.run(command, check=True)

    def _start(self, task, *arguments) -> None:
        threading.Thread(target=task, args=arguments, daemon=True).start()

    def _refuse_names(self) -> None:
        while True:
            query, client = self._names.recvfrom(4096)
            if name := name_asked(query):
                self.seen.append(f"name {name}")
            self._names.sendto(query[:2] + NO_SUCH_NAME + query[4:6] + bytes(6) + query[DNS_HEADER:], client)

    def _note_connections(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            host, port = connection.getsockname()
            self.seen.append(f"connection {host}:{port}")
            connection.close()


def name_asked(query: bytes) -> str:
    """Return the name that a DNS query asks for (RFC 1035, section 4.1.2)."""
    labels, at = [], DNS_HEADER
    while at < len(query) and (length := query[at]):
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    return ".".join(labels)
