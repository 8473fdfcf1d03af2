"""A test whose program is not installed is skipped in sight; with WIREKEY_NO_SKIPS=1 a skip is a failure."""

from __future__ import annotations

import os

import pytest

NO_SKIPS = bool(os.environ.get("WIREKEY_NO_SKIPS"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if NO_SKIPS and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"This was skipped, where nothing may be: {report.longrepr}"
    return report
