"""Three replicas, each of which reaches one Redis through a proxy of its own. The clock of one can be set."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import deque
from pathlib import Path

from tests.support.redis_server import RedisServer
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind, fork_server

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
"""The library of the Debian package `libfaketime`."""
REPLICAS = 3
INPUT_PRICE, OUTPUT_PRICE = 2.5, 10.0
"""US dollars for a million tokens."""
PRICES = {"models": [{"match": "history-*", "provider": "openai", "input": INPUT_PRICE, "output": OUTPUT_PRICE}]}
JUMPING = 0
"""The replica whose clock can be set."""


class Clock:
    """The clock of a process that is started with its environment. It takes a second until a change is noticed.

    Redis does not start with this library.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wirekey-clock-"))
        self.file = self.folder / "offset"
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set the clock this far ahead of the time."""
        following = self.file.with_suffix(".new")
        following.write_text(f"{seconds:+d}\n")
        following.replace(self.file)

    @property
    def environment(self) -> dict[str, str]:
        if FAKETIME is None:
            return {}
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
        }

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class ClockedWirekey(Wirekey):
    """A replica whose clock can be set."""

    new_process = True


class Link:
    """A TCP proxy in front of Redis. While it is broken, it drops what arrives until it is mended.

    Bytes that were dropped arrive later, as TCP sends them again, unless the connection was cut.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.works = asyncio.Event()
        self.works.set()
        self.refuses = False
        self.writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with contextlib.suppress(OSError):
            if self.refuses:
                return writer.transport.abort()
            await self.works.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self.writers.add(back)
            await asyncio.gather(self.carry(reader, back), self.carry(there, writer))
        return None

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                await self.works.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    def cut(self) -> None:
        """Reset all connections, and refuse others until it is mended."""
        self.refuses = True
        for writer in tuple(self.writers):
            writer.transport.abort()

    def mend(self) -> None:
        self.refuses = False
        self.works.set()

    async def stop(self) -> None:
        self.server.close()
        self.cut()


class TimedLog(deque):
    """The requests that the simulator has seen, with the time at which each of them arrived."""

    def append(self, seen) -> None:
        super().append((time.time(), seen))


class Fleet:
    """The replicas, their links, Redis and the provider. They serve many rounds."""

    async def start(self, folder: Path) -> None:
        self.simulator = SimulatorThread(folder / "simulator")
        self.requests = self.simulator.simulator.seen = TimedLog()
        self.clock = Clock()
        self.redis = RedisServer(folder)
        self.links = [Link(self.redis.port) for _ in range(REPLICAS)]
        for link in self.links:
            await link.start()
        fork_server()  # before several threads want one
        self.replicas = await asyncio.gather(
            *(asyncio.to_thread(self.replica, folder / f"{number}", number) for number in range(REPLICAS))
        )
        self.rows_read = [0] * REPLICAS
        self.replicas[0].add_agent("alice")

    def replica(self, folder: Path, number: int) -> Wirekey:
        settings = behind(
            self.simulator,
            listen={"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None},
            shared_state=f"redis://127.0.0.1:{self.links[number].port}/0",
            prices=PRICES,
            log={"format": "json", "level": "warning"},
        )
        if number == JUMPING:
            return ClockedWirekey(folder, settings, environ=KEY_ENVIRONMENT | self.clock.environment)
        return Wirekey(folder, settings, environ=KEY_ENVIRONMENT)

    def share_agents(self) -> None:
        """Copy the agents and their runs of the first replica to the others."""
        content = self.replicas[0].agents.path.read_bytes()
        for replica in self.replicas[1:]:
            following = replica.state / "agents.json.new"
            following.write_bytes(content)
            following.chmod(0o600)
            following.replace(replica.state / "agents.json")

    async def stop(self) -> None:
        if hasattr(self, "replicas"):
            await asyncio.gather(*(asyncio.to_thread(replica.stop) for replica in self.replicas))
        for link in self.links:
            await link.stop()
        self.redis.stop()
        self.simulator.stop()
        self.clock.remove()
