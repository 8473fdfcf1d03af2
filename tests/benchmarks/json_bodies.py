"""How long reading a large JSON body keeps the event loop, and its memory: python -m tests.benchmarks.json_bodies

Each body is read as that of a call is, from a process of its own. Printed are how it ended, the longest turn of the
event loop (processor time), the whole time, and how far memory rose, in multiples of the body.
"""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

from wirekey.core.body import SPOOL_ABOVE, RequestBody, Spool
from wirekey.core.body_reading.reader import BodyReader
from wirekey.core.body_reading.reading import ReadTask
from wirekey.core.errors import Refusal
from wirekey.core.json_size import VALUES_LIMIT
from wirekey.providers.registry import PROVIDERS

MIB = 1 << 20
HEAD = b'{"model":"gpt-4o-mini","messages":['


def tiny(item: bytes, size: int) -> bytes:
    return HEAD + item * (size // len(item)) + b"{}]}"


def one_string() -> bytes:
    return HEAD + b'{"role":"user","content":"' + b"x" * 28 * MIB + b'"}]}'


def many_keys() -> bytes:
    return b"{" + b",".join(b'"%x":0' % key for key in range(100_000)) + b',"model":"gpt-4o-mini"}'


def images() -> bytes:
    image = base64.b64encode(os.urandom(3 * MIB)).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": [part] * 5}]}).encode()


def chats() -> bytes:
    text = 'Some words of an ordinary chat, with commas, and "quotes".\n' * 16
    turns = [{"role": ("user", "assistant")[turn % 2], "content": text} for turn in range(4100)]
    return json.dumps({"model": "gpt-4o", "messages": turns}).encode()


BODIES = {
    "28 MiB of tiny objects": lambda: tiny(b'{"a":0},', 28 * MIB),
    "8 MiB of {},": lambda: tiny(b"{},", 8 * MIB),
    "as many tiny objects as allowed": lambda: tiny(b"{},", 3 * (VALUES_LIMIT // 2 - 100)),
    "300 KB of tiny messages": lambda: tiny(b'{"role":"user"},', 300_000),
    "one object of many keys": many_keys,
    "messages of many keys": lambda: tiny(b"{" + b",".join(b'"%x":0' % key for key in range(9000)) + b"},", 1 * MIB),
    "28 MiB in one string": one_string,
    "20 MiB of images": images,
    "4 MiB of ordinary chat": chats,
}


def spooled(folder: str, data: bytes) -> RequestBody:
    if len(data) <= SPOOL_ABOVE:
        return data
    spool = Spool(Path(folder))
    spool.write(data)
    return spool.finish()


async def read(reader: BodyReader, body: RequestBody) -> tuple[str, float, float]:
    """Return how it ended, and the longest turn of the loop and the whole time, in milliseconds."""
    longest, running = 0.0, True

    async def other() -> None:
        nonlocal longest
        last = time.thread_time()
        while running:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(other())
    await asyncio.sleep(0.01)
    longest, began, ended = 0.0, time.perf_counter(), "read"
    operation = PROVIDERS["openai"].operations.match_operation("POST", "/v1/chat/completions", {})
    try:
        await reader.read(ReadTask("openai", operation, {}, "application/json", VALUES_LIMIT), body)
    except Refusal as refusal:
        ended = str(refusal.status)
    whole = time.perf_counter() - began
    await asyncio.sleep(0)
    running = False
    await watching
    return ended, longest * 1000, whole * 1000


async def measure(name: str, folder: str) -> None:
    data = BODIES[name]()
    size = len(data)
    body = spooled(folder, data)
    del data
    reader = BodyReader()
    await read(reader, b"{}")
    assert reader.child_pid
    pids = (os.getpid(), reader.child_pid)
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = [resident("VmRSS", pid) for pid in pids]
    ended, longest, whole = await read(reader, body)
    here, there = (resident("VmHWM", pid) - rss for pid, rss in zip(pids, before, strict=True))
    reader.end()
    print(
        f"{name:34} {ended:>4}  longest {longest:5.1f} ms  whole {whole:6.0f} ms  "
        f"memory: {here / size:4.1f} times here, {there / size:4.1f} times in the child",
        flush=True,
    )


def resident(name: str, pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the process is gone")


def run(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(name, folder))


def main() -> None:
    for name in BODIES:
        process = multiprocessing.Process(target=run, args=(name,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
