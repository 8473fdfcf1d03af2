"""A real redis-server on a free port, with its files in a temporary folder, as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

UNPRIVILEGED = "nobody"
SLOTS = 16_384
"""Parts of the keys of a cluster."""
DISKLESS = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-diskless-load", "on-empty-db")
"""A replica gets the data without a file: this user may write none."""


def unprivileged() -> dict:
    """Return the arguments of Popen that give up root, if this process is root's."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """A redis-server. `start` after `stop` starts it on the same port, empty."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self.program = program
        self.folder = folder
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def arguments(self) -> list[str]:
        return ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *DISKLESS]

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, *self.arguments()],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **unprivileged(),
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self.process.poll() is None, "redis-server ended"
                assert time.monotonic() < deadline, "redis-server does not listen"
                time.sleep(0.01)
            else:
                return

    def ask(self, *words: str) -> bytes:
        """Send a command, and return the beginning of the response: nothing while the server changes its role."""
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
            try:
                return connection.recv(4096)
            except ConnectionResetError:
                return b""

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def empty(self) -> None:
        """Remove all that is stored."""
        assert self.ask("FLUSHALL") == b"+OK\r\n"


class Sentinel(RedisServer):
    """Watches a server, and makes its replica the master when it is away."""

    def __init__(self, folder: Path, master: RedisServer) -> None:
        # Outside of the folder of the tests, which only their user may enter: Sentinel writes its file again.
        self.configuration = Path(tempfile.mkdtemp(prefix="wirekey-sentinel-")) / "sentinel.conf"
        self.configuration.write_text(
            f"sentinel monitor wirekey 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds wirekey 300\n"
            "sentinel failover-timeout wirekey 2000\n"
        )
        if not os.geteuid():
            for path in (self.configuration, self.configuration.parent):
                os.chown(path, *pwd.getpwnam(UNPRIVILEGED)[2:4])
        super().__init__(folder)

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/wirekey"

    def arguments(self) -> list[str]:
        return [str(self.configuration), "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1"]

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.configuration.parent, ignore_errors=True)


class RedisCluster:
    """Three nodes that each serve a third of the slots. All keys of Wirekey are in one slot."""

    def __init__(self, folder: Path) -> None:
        # Outside of the folder of the tests, which only their user may enter: each node writes its list of nodes.
        self.folder = Path(tempfile.mkdtemp(prefix="wirekey-cluster-"))
        if not os.geteuid():
            os.chown(self.folder, *pwd.getpwnam(UNPRIVILEGED)[2:4])
        self.nodes = [ClusterNode(folder, self.folder) for _ in range(3)]
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            slots = str(SLOTS * number // 3), str(SLOTS * (number + 1) // 3 - 1)
            assert node.ask("CLUSTER", "ADDSLOTSRANGE", *slots) == b"+OK\r\n"
            # Otherwise the nodes give these numbers while a test goes on, and may refuse a replica that takes over.
            assert node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1)) == b"+OK\r\n"
            if node is not first:
                first.ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(node.bus_port))
        self.until(lambda: all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes))

    def until(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "the nodes do not agree"
            time.sleep(0.02)

    def owner(self, key: str) -> ClusterNode:
        """Return the node that serves a key at the start."""
        slot = int(self.nodes[0].ask("CLUSTER", "KEYSLOT", key).strip(b":\r\n"))
        return self.nodes[slot * 3 // SLOTS]

    def add_replica(self, folder: Path, master: ClusterNode) -> ClusterNode:
        """Start a node that follows another one, and has its data."""
        replica = ClusterNode(folder, self.folder)
        for node in self.nodes:  # one that the replica does not know would not learn that it took over
            replica.ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(node.bus_port))
        name = master.ask("CLUSTER", "MYID").split()[1].decode()
        self.until(lambda: replica.ask("CLUSTER", "REPLICATE", name) == b"+OK\r\n")
        self.nodes.append(replica)
        self.until(lambda: all(node.knows(other) for node in self.nodes for other in self.nodes))
        self.until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"))
        return replica

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def empty(self) -> None:
        for node in self.nodes:
            node.empty()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class ClusterNode(RedisServer):
    """A node of a cluster. `files`: where it writes its list of nodes."""

    def __init__(self, folder: Path, files: Path) -> None:
        self.files, self.bus_port = files, free_port()
        super().__init__(folder)

    def knows(self, other: ClusterNode) -> bool:
        """Return whether this node is connected to another one, or to itself."""
        lines = self.ask("CLUSTER", "NODES").split(b"\n")
        address = f" 127.0.0.1:{other.port}@{other.bus_port} ".encode()
        return any(address in line and b" connected" in line and b"handshake" not in line for line in lines)

    def arguments(self) -> list[str]:
        return [
            *super().arguments(),
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port), "--cluster-announce-ip", "127.0.0.1"),
            *("--cluster-config-file", str(self.files / f"nodes-{self.port}.conf"), "--cluster-node-timeout", "30000"),
        ]
