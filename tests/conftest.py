"""A test whose program is not installed is skipped in sight; with WIREKEY_NO_SKIPS=1 a skip is a failure."""

from __future__ import annotations

import os
import signal

import pytest

from tests.running import forget_ended_servers, server_logs
from wirekey.call import under_way

NO_SKIPS = bool(os.environ.get("WIREKEY_NO_SKIPS"))


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
