"""Memory of the process: few rounds of the collector, and what a burst took is given back to the system after it."""

from __future__ import annotations

import asyncio
import ctypes
import gc

LOOK_EVERY = 1.0
"""Seconds."""
GROWTH = 4 * 1024 * 1024
"""Bytes that must have become free before they are given back."""
FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Mallinfo(ctypes.Structure):
    """What glibc counts of its heap; `fordblks` is the bytes that are free."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


class FreeHeap:
    """Decides when free memory is given back: when much has become free since it was done last. Sizes in bytes."""

    def __init__(self, free: int) -> None:
        self.least = free

    def is_due(self, free: int) -> bool:
        self.least = min(self.least, free)
        return free - self.least >= GROWTH

    def given_back(self, free: int) -> None:
        """Note what is free afterwards. glibc counts it still, so only what comes on top is looked for."""
        self.least = free


def settle() -> None:
    """Take what start-up made out of the collector's rounds, and make these rarer: few objects of a call are cyclic."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 5, 4)


async def give_back() -> None:
    """Return free memory to the system until cancelled. Do nothing if the C library is not glibc.

    By itself glibc only gives back what lies at the end of its heap, so that one small block may keep all below it.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return
    library.mallinfo2.restype = Mallinfo
    heap = FreeHeap(library.mallinfo2().fordblks)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if heap.is_due(library.mallinfo2().fordblks):
            library.malloc_trim(0)
            heap.given_back(library.mallinfo2().fordblks)
