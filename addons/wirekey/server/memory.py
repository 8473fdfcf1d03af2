"""Memory of the process: fewer garbage collections, and free memory is returned to the system after a burst.

Python collects garbage by the number of new objects, whatever their size. A few bodies in reference cycles would stay
for long. So garbage is also collected when the heap has grown by many bytes.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the heap."""
GROWTH = 4 * 1024 * 1024
"""Bytes that must have become free before memory is returned."""
GARBAGE = 16 * 1024 * 1024
"""Bytes by which the heap may grow until garbage is collected."""
TRIM_THRESHOLD, MMAP_THRESHOLD = (-1, 32 * 1024 * 1024), (-3, 4 * 1024 * 1024)
"""Parameters of glibc's `mallopt`: their numbers and values in bytes.

By itself glibc returns much of a body of 1 MB when it is freed. The system must then clear the same pages for the next
one, which took an eighth of the time of such a request. `return_free_memory` returns them soon enough.
"""
FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Mallinfo(ctypes.Structure):
    """The statistics of glibc's heap. `fordblks` is the number of free bytes.

    `uordblks` and `hblkhd` are the bytes in use, in the heap and in pages of their own.
    """

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


class UsedHeap:
    """Decides when to collect garbage: when the heap has grown by `GARBAGE` since the last time. Sizes in bytes."""

    def __init__(self, used: int) -> None:
        self.least = used

    def is_due(self, used: int) -> bool:
        """Return whether to collect garbage now, given the number of bytes in use."""
        self.least = min(self.least, used)
        return used - self.least >= GARBAGE

    def collected(self, used: int) -> None:
        """Note the number of bytes in use after a collection. Growth beyond it may be garbage again."""
        self.least = used


def freeze_startup_objects() -> None:
    """Exclude the objects of the start from garbage collections, and make collections rarer.

    Few objects of a call are in reference cycles, so few collections suffice.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 5, 4)


async def return_free_memory() -> None:
    """Collect garbage and return free memory to the system, when there is much, until cancelled.

    Does nothing unless the C library is glibc. By itself glibc returns only the end of its heap, so that one small
    block can keep all the memory below it, and it does so after each large block.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return
    for parameter in (TRIM_THRESHOLD, MMAP_THRESHOLD):
        library.mallopt(*parameter)
    library.mallinfo2.restype = Mallinfo
    now = library.mallinfo2()
    free_heap, used_heap = FreeHeap(now.fordblks), UsedHeap(bytes_in_use(now))
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        now = library.mallinfo2()
        if used_heap.is_due(bytes_in_use(now)):
            gc.collect()
            now = library.mallinfo2()
            used_heap.collected(bytes_in_use(now))
        if free_heap.is_due(now.fordblks):
            library.malloc_trim(0)
            free_heap.returned(library.mallinfo2().fordblks)


def bytes_in_use(statistics: Mallinfo) -> int:
    """Return the number of bytes of the heap that are in use."""
    return int(statistics.uordblks) + int(statistics.hblkhd)
