"""The memory that an open connection of a client takes: python -m tests.benchmarks.connections [--connections N]

Opens connections through the proxy, then at the gateway, each with one call, and keeps them open. Prints how much the
process of Wirekey grows for each, and for each that has a stream in progress. Other programs do not change the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.benchmarks import proxies
from tests.benchmarks.load import Target, connect, read_answer, request
from tests.benchmarks.systems import Cores, System, wirekey

WARM_UP = 50
AT_ONCE = 50
PACE = 30.0
"""Seconds between the events of a stream, so that all are in progress at once."""


async def opened(target: Target, count: int, *, stream: bool) -> list[asyncio.StreamWriter]:
    """Open connections with one call each, of which streams have not ended."""
    context, kept = target.context(), []
    data = request(target, stream=True, events=3, pace=PACE) if stream else request(target)
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            reader, writer = await connect(target, context)
            kept.append(writer)
            writer.write(data)
            if stream:
                await reader.readuntil(b"\r\n\r\n")
            else:
                await read_answer(reader)

    await asyncio.gather(*(one() for _ in range(count)))
    return kept


async def kib_each(system: System, way: str, count: int, *, stream: bool) -> float:
    """Return by how much the process grows for each connection. KiB."""
    target = system.targets[way]
    kept = await opened(target, WARM_UP, stream=stream)
    before = proxies.memory_mib(system.pid)
    kept += await opened(target, count, stream=stream)
    each = (proxies.memory_mib(system.pid) - before) * 1024 / count
    for writer in kept:
        writer.close()
    return each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--connections", type=int, default=500)
    count = parser.parse_args().connections
    for stream in (False, True):
        for way in ("forward", "gateway"):
            # A process for each, as freed memory is used again.
            with tempfile.TemporaryDirectory() as name, proxies.upstream(Path(name)) as port:
                limits = {"connections_per_client": count + WARM_UP + 1}
                with wirekey(Path(name), port, Cores.chosen(), "connections", limits=limits) as system:
                    each = asyncio.run(kib_each(system, way, count, stream=stream))
            print(f"{way}, {'with a stream' if stream else 'idle'}: {each:.0f} KiB a connection", flush=True)


if __name__ == "__main__":
    main()
