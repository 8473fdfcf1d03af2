"""Runs tests in a forked process, with one module's source changed, or with a record of the lines that each test runs.

The process that forks has imported what the tests need of other packages, and nothing of Wirekey.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ALL_PASSED = 0
TIMED_OUT = -1
TOOL = sys.monitoring.COVERAGE_ID


class ChangedSource(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from another source."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, name: str, *_: object) -> Any:
        if name == self.module:
            return importlib.util.spec_from_file_location(name, self.path, loader=self)
        return None

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


class LineRecord:
    """A plugin of pytest that records which lines of some files each test runs."""

    def __init__(self, folder: str) -> None:
        self.folder, self.lines = folder, set[tuple[str, int]]()
        self.found: dict[str, tuple[float, list[tuple[str, int]]]] = {}
        self.failed: set[str] = set()
        sys.monitoring.use_tool_id(TOOL, "mutation")
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.LINE, self.line)
        sys.monitoring.set_events(TOOL, sys.monitoring.events.LINE)

    def line(self, code: Any, number: int) -> Any:
        if code.co_filename.startswith(self.folder):
            self.lines.add((code.co_filename, number))
        return sys.monitoring.DISABLE

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self.lines = set()
        sys.monitoring.restart_events()
        began = time.monotonic()
        result = yield
        self.found[item.nodeid] = (time.monotonic() - began, sorted(self.lines))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.failed.add(report.nodeid)


def forked(work: Callable[[], Any], seconds: float) -> Any:
    """Return what `work` returns in a forked process, or TIMED_OUT. It has no output."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)
        try:
            said = json.dumps(work())
        except BaseException as error:
            said = json.dumps(f"{type(error).__name__}: {error}")
        with os.fdopen(writing, "w") as pipe:
            pipe.write(said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe, deadline(child, seconds):
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else TIMED_OUT


@contextlib.contextmanager
def deadline(child: int, seconds: float) -> Iterator[None]:
    """Kill a process group of this process's child after some seconds."""

    def kill(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)

    previous = signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def lines_of_tests(files: list[str], folder: Path) -> dict[str, tuple[float, list[tuple[str, int]]]]:
    """Return for each test of some files that passes: its seconds, and the lines below `folder` that it runs."""

    def work() -> Any:
        record = LineRecord(str(folder))
        pytest.main(["-q", "-p", "no:xdist", *files], plugins=[record])
        return [sorted(record.failed), record.found]

    failed, found = forked(work, 1200)
    for test in failed:
        print(f"fails without a change, so it is not used: {test}", flush=True)
    return {test: each for test, each in found.items() if test not in failed}


def outcome(tests: list[str], module: str, path: Path, source: str, seconds: float) -> int:
    """Return pytest's exit code for tests with a changed module."""

    def work() -> int:
        sys.meta_path.insert(0, ChangedSource(module, path, source))
        return int(pytest.main(["-q", "-x", "-p", "no:xdist", *tests]))

    result = forked(work, seconds)
    return result if isinstance(result, int) else TIMED_OUT
