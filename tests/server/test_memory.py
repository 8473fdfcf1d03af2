from __future__ import annotations

import asyncio
import ctypes
import gc
import subprocess
import sys
import weakref

import pytest

from wirekey.server import memory
from wirekey.server.memory import GARBAGE, GROWTH, FreeHeap, UsedHeap


def test_memory_is_returned_when_much_has_become_free():
    heap = FreeHeap(GROWTH)
    assert not heap.is_due(GROWTH * 2 - 1)
    assert heap.is_due(GROWTH * 2)


def test_returned_memory_is_not_returned_again():
    heap = FreeHeap(0)
    assert heap.is_due(GROWTH * 3)
    heap.returned(GROWTH * 3)
    assert not heap.is_due(GROWTH * 3)


def test_returned_memory_that_was_used_since_is_returned_again():
    heap = FreeHeap(0)
    heap.returned(GROWTH * 3)
    assert not heap.is_due(0)
    assert heap.is_due(GROWTH)


def test_garbage_is_collected_when_the_heap_has_grown():
    heap = UsedHeap(GROWTH)
    assert not heap.is_due(GROWTH + GARBAGE - 1)
    assert heap.is_due(GROWTH + GARBAGE)
    heap.collected(GROWTH + GARBAGE)
    assert not heap.is_due(GROWTH + GARBAGE)
    assert not heap.is_due(0)
    assert heap.is_due(GARBAGE)


class Cycle:
    """An object that only the garbage collector frees, with a large body."""

    def __init__(self):
        self.itself = self
        self.body = bytes(GARBAGE // 4)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs the statistics of glibc")
async def test_large_bodies_in_cycles_are_freed_although_they_are_few_objects(monkeypatch):
    monkeypatch.setattr(memory, "CHECK_INTERVAL", 0.01)
    gc.collect()
    gc.disable()  # what counts objects
    task = asyncio.create_task(memory.return_free_memory())
    try:
        await asyncio.sleep(0.05)
        cycles = [weakref.ref(Cycle()) for _ in range(5)]
        async with asyncio.timeout(30):
            while any(cycle() for cycle in cycles):
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
        task.cancel()


PAGE_FAULTS = """
import asyncio, resource
from wirekey.server.memory import return_free_memory

async def page_faults():
    returning = asyncio.create_task(return_free_memory())
    await asyncio.sleep(0)
    for count in (10, 100):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(count):
            body = [bytes([1]) * 1024 * 1024 for _ in range(3)]
            del body
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(asyncio.run(page_faults()))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs the allocator of glibc")
def test_the_memory_of_a_body_is_used_for_the_next_one():
    found = subprocess.run([sys.executable, "-c", PAGE_FAULTS], check=True, capture_output=True, text=True)
    assert int(found.stdout) < 1_000, "pages of 4 KiB: 100 times three bodies of 1 MiB have 76,800"


UNUSED = (
    *("botocore.auth", "flask", "ldap3", "httpx2", "opentelemetry", "genai_prices.data", "wirekey_simulator"),
    "tornado",
)


def test_a_process_without_aws_and_console_imports_no_package_that_it_does_not_use():
    code = (
        "import sys; from wirekey.core.package_imports import import_on_demand; import_on_demand('mitmproxy.addons'); "
        "import wirekey.cli.serve, wirekey.server.bundle, wirekey.server.master, wirekey.core.observing.log; "
        f"print([name for name in {UNUSED} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
