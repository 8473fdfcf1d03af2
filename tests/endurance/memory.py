"""Memory of a running Wirekey over many calls of one kind: python -m tests.endurance.memory [--requests N] [KIND …]

Prints the resident memory after each tenth, and what the second half added per call. Kinds: kept (calls over kept
connections), fresh (a connection for each), denied, left (streams that the client leaves half-way), stream (one of
1 GiB; its tenths are tenths of it).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
from pathlib import Path

from tests.benchmarks import load, proxies

CONNECTIONS = 16
KIB = 1024


async def kept(target: load.Target, count: int) -> None:
    await load.plain(target, CONNECTIONS, count)


async def fresh(target: load.Target, count: int) -> None:
    context, data = target.context(), load.request(target)

    async def one() -> None:
        for _ in range(count // CONNECTIONS):
            reader, writer = await load.connect(target, context)
            writer.write(data)
            await load.read_answer(reader)
            writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


async def denied(target: load.Target, count: int) -> None:
    context = target.context()
    data = load.request(target).replace(b"/v1/chat/completions", b"/v1/nothing-of-this-name")

    async def one() -> None:
        reader, writer = await load.connect(target, context)
        for _ in range(count // CONNECTIONS):
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 404 " in head.split(b"\r\n", 1)[0], head
            length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


async def left(target: load.Target, count: int) -> None:
    context, data = target.context(), load.request(target, stream=True, events=1000, pace=0.05)

    async def one() -> None:
        for _ in range(count // CONNECTIONS):
            reader, writer = await load.connect(target, context)
            writer.write(data)
            await reader.readuntil(load.SENT)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


async def stream(target: load.Target, count: int) -> None:
    """Count is in units of 64 KiB."""
    await load.large_stream(target, count * 64 * KIB)


KINDS = {
    "kept": (kept, 1.0),
    "fresh": (fresh, 0.2),
    "denied": (denied, 0.5),
    "left": (left, 0.1),
    "stream": (stream, 0),
}
"""Kind → what makes it, and its share of --requests, as some cost more than others."""
STREAM_PIECES = 16 * KIB


async def measure(name: str, pid: int, target: load.Target, requests: int) -> None:
    make, share = KINDS[name]
    tenth = (int(requests * share) or STREAM_PIECES) // 10 // CONNECTIONS * CONNECTIONS
    await make(target, CONNECTIONS * 10)  # warms up
    sizes = [proxies.memory_mib(pid)]
    for _ in range(10):
        await make(target, tenth)
        sizes.append(proxies.memory_mib(pid))
    grown = (sizes[-1] - sizes[5]) * KIB * KIB / (5 * tenth)
    shown = " ".join(f"{size:.1f}" for size in sizes)
    print(f"{name:<7} {10 * tenth:>7} MiB: {shown}  second half: {grown:+.0f} bytes each", flush=True)


async def run(folder: Path, kinds: list[str], requests: int) -> None:
    with proxies.upstream(folder) as port, proxies.wirekey(folder / "wirekey", port) as (pid, target):
        for name in kinds:
            await measure(name, pid, target, requests)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    if unknown := set(options.kinds) - KINDS.keys():
        parser.error(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), options.kinds or list(KINDS), options.requests))
