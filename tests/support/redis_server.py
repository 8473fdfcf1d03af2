"""A real redis-server on a free port, with its files in a temporary folder, as an unprivileged user."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from tests.support.ports import free_port
from wirekey.core.x509 import Issuer, builder, ca_builder, new_key, private_pem, public_pem

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


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Certificate:
    """A certificate for servers on this machine, with its root, in files that the servers can read.

    It has no extended key usage: to the other nodes of a cluster, a server is a client too.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wirekey-tls-"))
        self.server, self.root = self.folder / "server.pem", self.folder / "root.pem"
        now = datetime.now(UTC)
        period = now - timedelta(days=1), now + timedelta(days=1)
        issuer, key = Issuer(named("root of a test"), new_key()), new_key()
        root = ca_builder(issuer.name, issuer.key.public_key(), issuer, period, path_length=0)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        leaf = builder(named("server of a test"), key.public_key(), issuer, period).add_extension(names, critical=False)
        leaf = leaf.add_extension(issuer.key_identifier, critical=False)
        self.server.write_bytes(private_pem(key) + public_pem(leaf.sign(issuer.key, hashes.SHA256())))
        self.root.write_bytes(public_pem(root.sign(issuer.key, hashes.SHA256())))
        if not os.geteuid():
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, *pwd.getpwnam(UNPRIVILEGED)[2:4])

    def arguments(self) -> list[str]:
        """Return the options of a server whose connections, also those to other servers, all have TLS."""
        return [
            *("--tls-cert-file", str(self.server), "--tls-key-file", str(self.server)),
            *("--tls-ca-cert-file", str(self.root), "--tls-auth-clients", "no", "--tls-replication", "yes"),
        ]

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisServer:
    """A redis-server. `start` after `stop` starts it on the same port, empty. `certificate`: for TLS."""

    def __init__(self, folder: Path, certificate: Certificate | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self.program = program
        self.folder = folder
        self.certificate = certificate
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/0{self.query}"

    @property
    def scheme(self) -> str:
        return "rediss" if self.certificate else "redis"

    @property
    def query(self) -> str:
        return f"?ssl_ca_certs={self.certificate.root}" if self.certificate else ""

    def listening(self) -> list[str]:
        """Return the options for the port."""
        port = ["--port", str(self.port)]
        if self.certificate:
            port = ["--port", "0", "--tls-port", str(self.port), *self.certificate.arguments()]
        return [*port, "--bind", "127.0.0.1"]

    def arguments(self) -> list[str]:
        return [*self.listening(), "--save", "", "--appendonly", "no", *DISKLESS]

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, *self.arguments()],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
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
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), 30))
            try:
                if self.certificate:
                    context = ssl.create_default_context(cafile=self.certificate.root)
                    connection = stack.enter_context(context.wrap_socket(connection, server_hostname="127.0.0.1"))
                connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
                return connection.recv(4096)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""

    def stop(self) -> None:
        """End the server, also where it is the child of a shell."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def empty(self) -> None:
        """Remove all that is stored."""
        assert self.ask("FLUSHALL") == b"+OK\r\n"


class Sentinel(RedisServer):
    """Watches a server, and makes its replica the master when it is away. It has TLS if the server has it."""

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
        super().__init__(folder, master.certificate)

    @property
    def url(self) -> str:
        return f"{self.scheme}+sentinel://127.0.0.1:{self.port}/wirekey{self.query}"

    def arguments(self) -> list[str]:
        return [str(self.configuration), "--sentinel", *self.listening()]

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.configuration.parent, ignore_errors=True)


class RedisCluster:
    """Three nodes that each serve a third of the slots. All keys of Wirekey are in one slot."""

    def __init__(self, folder: Path, certificate: Certificate | None = None) -> None:
        # Outside of the folder of the tests, which only their user may enter: each node writes its list of nodes.
        self.certificate = certificate
        self.folder = Path(tempfile.mkdtemp(prefix="wirekey-cluster-"))
        if not os.geteuid():
            os.chown(self.folder, *pwd.getpwnam(UNPRIVILEGED)[2:4])
        self.nodes = [ClusterNode(folder, self.folder, certificate) for _ in range(3)]
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
        replica = ClusterNode(folder, self.folder, self.certificate)
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
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"{self.nodes[0].scheme}+cluster://{places}{self.nodes[0].query}"

    def empty(self) -> None:
        for node in self.nodes:
            node.empty()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class ClusterNode(RedisServer):
    """A node of a cluster. `files`: where it writes its list of nodes."""

    def __init__(self, folder: Path, files: Path, certificate: Certificate | None) -> None:
        self.files, self.bus_port = files, free_port()
        super().__init__(folder, certificate)

    def knows(self, other: ClusterNode) -> bool:
        """Return whether this node is connected to another one, or to itself."""
        lines = self.ask("CLUSTER", "NODES").split(b"\n")
        address = f" 127.0.0.1:{other.port}@{other.bus_port} ".encode()
        return any(address in line and b" connected" in line and b"handshake" not in line for line in lines)

    def arguments(self) -> list[str]:
        return [
            *super().arguments(),
            *(("--tls-cluster", "yes") if self.certificate else ()),
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port), "--cluster-announce-ip", "127.0.0.1"),
            *("--cluster-config-file", str(self.files / f"nodes-{self.port}.conf"), "--cluster-node-timeout", "30000"),
        ]
