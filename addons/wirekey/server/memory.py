"""Memory of the process: fewer garbage collections, and free memory is returned to the system after a burst."""

from __future__ import annotations

import asyncio
import ctypes
import gc

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the heap."""
GROWTH = 4 * 1024 * 1024
"""Bytes that must have become free before memory is returned."""
FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Mallinfo(ctypes.Structure):
    """The statistics of glibc's heap. `fordblks` is the number of free bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


class FreeHeap:
    """Decides when to return free memory: when `GROWTH` bytes have become free since the last time. Sizes in bytes."""

    def __init__(self, free: int) -> None:
        self.least = free

    def is_due(self, free: int) -> bool:
        """Return whether to return memory now, given the number of free bytes."""
        self.least = min(self.least, free)
        return free - self.least >= GROWTH

    def returned(self, free: int) -> None:
        """Note the number of free bytes after a return. glibc still counts returned memory as free."""
        self.least = free


def freeze_startup_objects() -> None:
    """Exclude the objects of the start from garbage collections, and make collections rarer.

    Few objects of a call are in reference cycles, so few collections suffice.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 5, 4)


async def return_free_memory() -> None:
    """Return free memory to the system every now and then until cancelled. Does nothing unless the C library is glibc.

    By itself glibc returns only the end of its heap, so that one small block can keep all the memory below it.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return
    library.mallinfo2.restype = Mallinfo
    heap = FreeHeap(library.mallinfo2().fordblks)
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        if heap.is_due(library.mallinfo2().fordblks):
            library.malloc_trim(0)
            heap.returned(library.mallinfo2().fordblks)
