"""Ports for servers that cannot choose one themselves, or must keep it over a restart."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

LOWEST = 15_000
CHOSEN: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens.

    The system gives none of these ports to a connection, or to a server that lets it choose. So nothing takes the port
    before a server listens on it, or while it restarts.
    """
    while True:
        port = secrets.choice(range(LOWEST, first_ephemeral_port()))  # whatever a test gives `random` as seed
        if port in CHOSEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        CHOSEN.add(port)
        return port


def first_ephemeral_port() -> int:
    """Return the lowest port that the system gives to connections."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32_768
    return first if first > 2 * LOWEST else 32_768
