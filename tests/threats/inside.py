"""A Wirekey in this process, for tunnels: the names of other hosts lead to a listener of the test.

Everything else is as in `wirekey serve`. Only the addresses that names resolve to are the test's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sqlite3
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from mitmproxy import options

from tests.support.running import KEY_ENVIRONMENT, PATIENCE, behind
from wirekey.config import load
from wirekey.core.addons.egress import Egress
from wirekey.core.calls.services import Services
from wirekey.core.identity.agents import AgentStore
from wirekey.server import bundle
from wirekey.server.master import ServeMaster


@dataclass
class Host:
    """A host behind a tunnel: responds to `ask` bytes with `reply` bytes, and keeps the connection open."""

    ask: int = 0
    reply: bytes = b"r" * 70_000
    port: int = 0
    received: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    left: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.received += len(data)
                if self.received >= self.ask:
                    writer.write(self.reply)
                    await writer.drain()
        self.left += 1
        writer.close()


@dataclass
class Inside:
    folder: Path
    forward: str
    services: Services
    host: Host
    agents: AgentStore

    def events(self, name: str = "") -> list[dict]:
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "audit.db")) as database:
            database.row_factory = sqlite3.Row
            rows = [dict(row) for row in database.execute("SELECT * FROM calls ORDER BY id")]
        return [row for row in rows if name in ("", row["operation"])]

    async def ended(self, count: int = 1) -> list[dict]:
        """Wait until `count` events have an outcome, and return all."""
        return await until(
            lambda: (found := self.events()) and sum(bool(e["outcome"]) for e in found) >= count and found
        )

    async def connect(self, target: str, agent: str = "", token: str = ""):
        """Ask for a tunnel: its status, reader and writer."""
        address, _, port = self.forward.rpartition(":")
        reader, writer = await asyncio.open_connection(address, int(port))
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        if token:
            head += "Proxy-Authorization: Basic " + base64.b64encode(f"{agent}:{token}".encode()).decode() + "\r\n"
        writer.write(head.encode() + b"\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        return int(answer.split(b" ", 2)[1]), reader, writer


async def until(condition):
    """Return the first true value of `condition()`."""
    async with asyncio.timeout(PATIENCE):
        while not (value := condition()):
            await asyncio.sleep(0.01)
    return value


def client_hello(name: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


@contextlib.asynccontextmanager
async def running_inside(folder: Path, simulator, monkeypatch, **configuration) -> AsyncIterator[Inside]:
    host = Host()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    whole = Egress.pin_address

    async def pin_address(self, server):
        if server.address[0].endswith(".inner.example"):
            # A name that leads into the private network.
            server.address = ("127.0.0.1", server.address[1])
            await whole(self, server)
        elif server.address[0].endswith(".unreachable.example"):
            raise OSError("no such host")
        elif server.address not in self.services.settings.places:
            server.address = ("127.0.0.1", host.port)
        else:
            await whole(self, server)

    monkeypatch.setattr(Egress, "pin_address", pin_address)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"state": str(folder / "state"), "certs": str(folder / "certs")}
    settings |= {"listen": {"forward": "127.0.0.1:0", "gateway": None, "console": None}}
    (folder / "wirekey.yaml").write_text(json.dumps(behind(simulator, **(settings | configuration))))
    services = Services()
    master = ServeMaster(options.Options(confdir=str(folder / "certs")))
    ours = bundle.addons_in_order(services, load(folder / "wirekey.yaml", KEY_ENVIRONMENT))
    builtin = list(master.addons.chain)
    master.addons.add(*ours)
    master.addons.chain[:] = [*ours, *builtin]
    ours[0].configure(set())
    running = asyncio.create_task(master.run())
    try:
        await until(lambda: ours[0].running_proxy or running.done())
        assert not running.done()
        yield Inside(folder, ours[0].running_proxy.forward, services, host, services.agents)
    finally:
        master.shutdown()
        await asyncio.wait([running], timeout=10)
        server.close()
