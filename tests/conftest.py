"""What holds for all tests: their order, their time limit, and the logs printed with a failure.

A test whose program is not installed is skipped. With WIREKEY_NO_SKIPS=1, as in CI, a skip is a failure.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import time
from pathlib import Path

import pytest

from tests.running import forget_ended_servers, server_logs
from wirekey.call import under_way

LONGEST_FIRST = (
    "policy/test_differential.py",
    "endurance/test_fault_matrix.py",
    "policy/test_differential_second.py",
    "threats/test_denial_of_service.py",
    "secrecy/test_nothing_leaks.py",
    "browser/test_page.py",
    "packaging/test_wheel.py",
    "cli/test_demo_command.py",
    "end_to_end/test_large_bodies.py",
    "clients/test_gateway.py",
    "clients/test_aborts.py",
    "threats/test_past_the_base_url.py",
)
"""Files that take longest, in the order in which they start: tests that compute beside tests that wait."""
LIMIT = float(os.environ.get("WIREKEY_TEST_SECONDS", "300"))
"""Seconds after which a test, with its fixtures, fails as hung."""
MERCY = 60
"""Seconds that a hung test has to clean up. A process in which it does not is ended."""
STACKS = os.fdopen(os.dup(2), "w")
"""Standard error, which pytest replaces while tests run."""
NO_SKIPS = bool(os.environ.get("WIREKEY_NO_SKIPS"))


def pytest_collection_modifyitems(items):
    """Start with the longest files: one that began last would keep one worker waiting for the other."""
    order = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_collection_finish():
    """Exempt what was imported and collected from garbage collections: they would look at all of it again and again."""
    gc.collect()
    gc.freeze()


LAST_POSTPONED = [float("-inf")]


def postpone_end():
    """Restart the time after which the process is ended, if half of `MERCY` has passed: it costs a thread."""
    now = time.monotonic()
    if now - LAST_POSTPONED[0] > MERCY / 2:
        LAST_POSTPONED[0] = now
        faulthandler.dump_traceback_later(LIMIT + MERCY, exit=True, file=STACKS)


def pytest_sessionfinish():
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """End a test that hangs, with the stacks of all threads, so that the run goes on."""

    def fail(number, frame):
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.dump_traceback(STACKS)
        pytest.fail(f"The test ran for more than {LIMIT:g} s (WIREKEY_TEST_SECONDS).")

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    postpone_end()
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", log) for name, log in server_logs()]
    if call.when == "teardown":
        forget_ended_servers()
    if NO_SKIPS and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"This was skipped, where nothing may be: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def no_call_is_under_way():
    """A test that opens a call outside a task leaves its name behind, in the context of all that follow."""
    under_way.set(None)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and the programs that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
