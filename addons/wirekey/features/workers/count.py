"""The number of workers that `workers: auto` starts: as many as the processors, the CPU quota and the memory allow.

A container sees all processors of its node. Its quota and its memory are those of the control group of the process, or
of a group above it, in version 1 or 2 of Linux's interface.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wirekey.features.workers.config import MOST_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIB = 1 << 20
SUPERVISOR_BYTES = 100 * MIB
WORKER_BYTES = 160 * MIB
"""A worker takes up to 130 MiB after load, and its connections take some more."""
NO_LIMIT = 1 << 60
"""Version 1 has no word for "no limit". It shows the highest number of pages."""
GROUPS = "proc/self/cgroup"
MOUNT = "sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of this process. `quota`: processors' worth of time, `memory`: bytes; None is without a limit."""

    processors: int
    quota: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """A number of workers, and the reason for it in words, or None if a person has chosen it."""

    number: int
    reason: str | None = None


def worker_count(setting: int | str) -> WorkerCount:
    """Return the number of workers for a setting, which is a number or `auto`."""
    return WorkerCount(setting) if isinstance(setting, int) else fitting_count(resources())


def fitting_count(found: Resources) -> WorkerCount:
    """Return the number of workers that these resources allow. At least one."""
    reasons = {f"it may use {counted(found.processors, 'processor')}": found.processors}
    if found.quota is not None:
        reasons[f"the CPU quota is {found.quota:g} processors"] = int(found.quota + 0.5)
    if found.memory is not None:
        room = (found.memory - SUPERVISOR_BYTES) // WORKER_BYTES
        needs = f"it may use {found.memory // MIB} MiB of memory, and a worker may take {WORKER_BYTES // MIB} MiB"
        reasons[needs] = room
    reason = min(reasons, key=reasons.__getitem__)
    return WorkerCount(max(1, min(reasons[reason], MOST_WORKERS)), reason)


def counted(number: int, word: str) -> str:
    """Return a number with its word in singular or plural."""
    return f"{number} {word}{'s' * (number != 1)}"


def resources(root: Path = Path("/")) -> Resources:
    """Return the resources of this process. `root` has the folders `proc` and `sys`."""
    quotas, memories = list[float](), list[int]()
    for controllers, group in groups(root):
        for folder in folders(root / MOUNT, controllers, group):
            quotas += cpu_quota(folder)
            memories += memory_limit(folder)
    processors = len(os.sched_getaffinity(0))
    memories.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return Resources(processors, min(quotas, default=None), min(memories))


def groups(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """Yield the controllers and the path of each control group of this process. Version 2 names no controllers."""
    try:
        lines = (root / GROUPS).read_text().splitlines()
    except OSError:
        return  # not Linux, or nothing may be read
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or {"cpu", "memory"} & set(controllers.split(",")):
            yield controllers, PurePosixPath(path)


def folders(mount: Path, controllers: str, group: PurePosixPath) -> Iterator[Path]:
    """Yield the folders of a group and of those above it, which bound it, too.

    In a container, the path may be that of the node, while the container's own group is mounted at the top.
    """
    names = [controllers, *controllers.split(",")] if controllers else ["", "unified"]
    for name in dict.fromkeys(names):
        for above in (group, *group.parents):
            yield mount / name / above.relative_to("/")


def cpu_quota(folder: Path) -> Iterator[float]:
    """Yield the CPU quota of a group's folder, in processors, if it has one."""
    quota, period = [*numbers(folder / "cpu.max"), -1, -1][:2]
    if quota < 0:
        quota, period = [*numbers(folder / "cpu.cfs_quota_us"), -1][0], [*numbers(folder / "cpu.cfs_period_us"), -1][0]
    if quota > 0 and period > 0:
        yield quota / period


def memory_limit(folder: Path) -> Iterator[int]:
    """Yield the memory limits of a group's folder, in bytes."""
    for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
        yield from (limit for limit in numbers(folder / name) if limit < NO_LIMIT)


def numbers(file: Path) -> Iterable[int]:
    """Return the numbers in a file of a control group; none if it does not exist or its first word is `max`."""
    try:
        words = file.read_text().split()
        return [int(word) for word in words] if words and words[0] != "max" else []
    except (OSError, ValueError):
        return []
