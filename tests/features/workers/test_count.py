"""`workers: auto` respects the processors, the CPU quota and the memory of control groups, in both versions."""

from __future__ import annotations

import os

import pytest

from wirekey.features.workers.count import MIB, Resources, fitting_count, resources, worker_count

GIB = 1024 * MIB
V1 = "4:memory:/kubepods/pod1/c1\n2:cpu,cpuacct:/kubepods/pod1/c1\n1:name=systemd:/kubepods/pod1/c1\n"


def found(tmp_path, groups: str, files: dict[str, str]) -> Resources:
    """Return the resources of a process in these control groups. `files`: path below the mount → content."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, content in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")
    return resources(tmp_path)


@pytest.mark.parametrize(
    ("groups", "files", "quota", "memory"),
    [
        ("0::/\n", {"cpu.max": "150000 100000", "memory.max": "536870912"}, 1.5, 512 * MIB),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}, 2.0, None),
        ("0::/a/b\n", {"a/b/memory.max": "1073741824", "a/memory.high": "268435456"}, None, 256 * MIB),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "50000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 0.5, None),
        (V1, {"cpu/kubepods/cpu.cfs_quota_us": "300000", "cpu/kubepods/cpu.cfs_period_us": "100000"}, 3.0, None),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, None),
        (V1, {"memory/kubepods/pod1/memory.limit_in_bytes": "268435456"}, None, 256 * MIB),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, None, None),
        ("0::/\n4:memory:/x\n", {"unified/cpu.max": "100000 100000", "memory/x/memory.limit_in_bytes": "2"}, 1.0, 2),
        ("", {"cpu.max": "100000 100000"}, None, None),
    ],
    ids=[
        "version 2",
        "version 2 without limits",
        "a group above has the smaller quota",
        "a group above has less memory",
        "version 1, the own group at the top",
        "version 1, a group above",
        "version 1 without a quota",
        "version 1, memory",
        "version 1 without a limit of memory",
        "both versions",
        "no groups",
    ],
)
def test_the_limits_of_control_groups_are_read(tmp_path, groups, files, quota, memory):
    read = found(tmp_path, groups, files)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert read == Resources(len(os.sched_getaffinity(0)), quota, memory or physical)


def test_files_that_cannot_be_understood_are_no_limits(tmp_path):
    read = found(tmp_path, "0::/\n", {"cpu.max": "many", "memory.max": ""})
    assert (read.quota, read.memory) == (None, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


@pytest.mark.parametrize(
    ("has", "number", "reason"),
    [
        (Resources(64, memory=512 * GIB), 64, "it may use 64 processors"),
        (Resources(1, memory=512 * GIB), 1, "it may use 1 processor"),
        (Resources(64, quota=2.0, memory=512 * GIB), 2, "the CPU quota is 2 processors"),
        (Resources(64, quota=1.5), 2, "the CPU quota is 1.5 processors"),
        (Resources(64, quota=1.2), 1, "the CPU quota is 1.2 processors"),
        (Resources(64, quota=0.1), 1, "the CPU quota is 0.1 processors"),
        (Resources(64, quota=8.0, memory=GIB), 5, "it may use 1024 MiB of memory, and a worker may take 160 MiB"),
        (Resources(64, memory=100 * MIB), 1, "it may use 100 MiB of memory, and a worker may take 160 MiB"),
        (Resources(500), 128, "it may use 500 processors"),
    ],
)
def test_the_scarcest_resource_decides_and_is_named(has, number, reason):
    chosen = fitting_count(has)
    assert (chosen.number, chosen.reason) == (number, reason)


def test_a_number_that_a_person_has_chosen_is_taken_as_it_is():
    assert (worker_count(7).number, worker_count(7).reason) == (7, None)
