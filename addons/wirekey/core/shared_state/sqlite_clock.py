"""The clock of the shared state in SQLite. It agrees among processes, and does not jump when somebody sets the time.

The file keeps the difference between Unix time and the seconds since the machine was started. All processes of the
machine count from there.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Linux: a new id after each start of the machine."""
START = """
CREATE TABLE IF NOT EXISTS clock (boot TEXT NOT NULL, offset REAL NOT NULL);
"""


def machine_clock(database: sqlite3.Connection) -> Callable[[], float]:
    """Return a clock in Unix seconds, as they were when the first process of this start of the machine opened the file.

    It is the system's clock if the system does not tell one start of the machine from another.
    """
    boot = boot_id()
    if not boot:
        return time.time
    database.execute(START)
    database.execute("BEGIN IMMEDIATE")
    try:
        found: tuple[float] | None = database.execute("SELECT offset FROM clock WHERE boot = ?", (boot,)).fetchone()
        if found is None:
            found = (time.time() - since_boot(),)
            # The processes of the previous start have ended. Their times may be those of a wrong clock.
            for table in ("clock", "buckets", "reservations"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608  # fixed names
            database.execute("INSERT INTO clock VALUES (?, ?)", (boot, *found))
    finally:
        database.execute("COMMIT")
    return partial(shifted, found[0])


def shifted(offset: float) -> float:
    """Return the seconds since the start of the machine, and an offset."""
    return offset + since_boot()


def since_boot() -> float:
    """Return the seconds since the machine was started, also those in which it slept."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def boot_id() -> str:
    """Return what identifies this start of the machine, or nothing."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
