"""How long reading a large JSON body keeps the event loop, and its memory: python -m tests.benchmarks.json_bodies

Each body goes through the check and the reading that a call's does, in a process of its own. Printed are the longest
time between two turns of another task, the whole time, and how far memory rose, in multiples of the body.
"""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from wirekey.addons.recognition import Recognition
from wirekey.body import SPOOL_ABOVE, RequestBody, Spool
from wirekey.calls.services import Services
from wirekey.errors import Refusal
from wirekey.json_size import VALUES_LIMIT
from wirekey.providers import PROVIDERS

MIB = 1 << 20
HEAD = b'{"model":"gpt-4o-mini","messages":['


def tiny(item: bytes, size: int) -> bytes:
    return HEAD + item * (size // len(item)) + b"{}]}"


def one_string() -> bytes:
    return HEAD + b'{"role":"user","content":"' + b"x" * 28 * MIB + b'"}]}'


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


async def read(body: RequestBody) -> tuple[str, float, float]:
    """Return how it ended, and the longest and the whole time in milliseconds."""
    services = Services()
    services.settings = replace(services.settings, json_values=VALUES_LIMIT)
    longest, running = 0.0, True

    async def other() -> None:
        nonlocal longest
        last = time.perf_counter()
        while running:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(other())
    await asyncio.sleep(0.01)
    longest, began, ended = 0.0, time.perf_counter(), "read"
    operation = PROVIDERS["openai"].match_operation("POST", "/v1/chat/completions", {})
    assert operation
    try:
        await Recognition(services).check_large(body)
        PROVIDERS["openai"].read_request(operation, {}, "application/json", body)
    except Refusal as refusal:
        ended = str(refusal.status)
    whole = time.perf_counter() - began
    await asyncio.sleep(0)
    running = False
    await watching
    return ended, longest * 1000, whole * 1000


def measure(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = BODIES[name]()
        size = len(data)
        body = spooled(folder, data)
        del data
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        ended, longest, whole = asyncio.run(read(body))
        rose = resident("VmHWM") - before
        print(
            f"{name:34} {ended:>4}  longest {longest:6.1f} ms  whole {whole:6.0f} ms  {rose / size:5.1f} times",
            flush=True,
        )


def resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    for name in BODIES:
        process = multiprocessing.Process(target=measure, args=(name,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
