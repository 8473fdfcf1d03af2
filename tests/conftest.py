"""What holds for all tests: their order, their time limit, and the logs printed with a failure.

A test whose program is not installed is skipped. With WIREKEY_NO_SKIPS=1, as in CI, a skip is a failure.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import HealthCheck, settings

from tests.deliveries.fixtures import deployment, deployments, path
from tests.support.running import forget_ended_servers, server_logs
from tests.support.websocket_tls import install
from wirekey.core.call import current_call_id

install()
# By default a property test fails if one of its examples takes 200 ms, as any may on a busy machine.
settings.register_profile("wirekey", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("wirekey")

__all__ = ["deployment", "deployments", "path"]

HERE = Path(__file__).parent
LONGEST_FIRST = (
    "clients/test_coding_agents.py",
    "clients",
    "features/workers",
    "features/postgresql/test_faults.py",
    "policy/test_differential.py",
    "features/test_core_alone.py",
    "threats/test_denial_of_service.py",
    "endurance/test_fault_matrix.py",
    "secrecy/test_nothing_leaks.py",
    "browser/test_page.py",
    "packaging/test_wheel.py",
    "features/test_removal.py",
    "threats/test_failover.py",
    "end_to_end/test_streams.py",
    "end_to_end/test_refusals.py",
    "end_to_end/test_operations.py",
    "end_to_end/test_http2.py",
    "features/traces/test_end_to_end.py",
    "features/demo/test_command.py",
    "docs/test_commands.py",
    "threats/test_operations.py",
    "threats/test_past_the_base_url.py",
    "end_to_end/test_uploads.py",
    "end_to_end/test_large_bodies.py",
)
"""Files and folders that take longest, in the order in which they start."""
ON_ONE_WORKER = tuple(f"tests/clients/test_{name}.py" for name in ("aborts", "calls", "errors", "gateway"))
"""Files that share what takes longer to start than to use: one client program for each language and way."""
ON_ANY_WORKER = ("tests/features/test_core_alone.py", "tests/policy/test_differential.py")
"""Files whose tests take long and share little."""
LIMIT = float(os.environ.get("WIREKEY_TEST_SECONDS", "300"))
"""Seconds after which a test, with its fixtures, fails as hung."""
MERCY = 60
"""Seconds that a hung test has to clean up. A process in which it does not is ended."""
STACKS_FOLDER = "WIREKEY_TEST_STACKS"
"""The environment variable with the folder where each process writes the stacks of its threads when it must end."""
STACKS = pytest.StashKey[TextIO]()
SLOWEST_SHOWN = 40
NO_SKIPS = bool(os.environ.get("WIREKEY_NO_SKIPS"))


def pytest_collection_modifyitems(items):
    """Start with the longest files: one that began last would keep one worker waiting for the other.

    Each worker must give a test the same name, so that no name may contain the address of an object.
    """
    if unstable := next((item.nodeid for item in items if " object at 0x" in item.nodeid), None):
        raise pytest.UsageError(f"{unstable} has another name in each process. Give its parameters ids.")
    order = {HERE / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: min(order.get(path, len(order)) for path in (item.path, item.path.parent)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Change what `--dist loadfile` keeps together."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _reschedule(self, node):
            # A process that replaces one that ended has no tests before it has collected them.
            if node in self.registered_collections:
                super()._reschedule(node)

        def _split_scope(self, nodeid):
            if nodeid.startswith(ON_ANY_WORKER):
                return nodeid
            file = super()._split_scope(nodeid)
            return ON_ONE_WORKER[0] if file in ON_ONE_WORKER else file

    return Scheduling(config, log)


def pytest_sessionstart():
    """Collect no garbage before all tests are collected: it takes a quarter of that time, and there is little."""
    gc.disable()


def pytest_collection_finish():
    """Exempt what was imported and collected from garbage collections: they would look at all of it again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Open the file of the stacks, which a crash writes as well. Standard error is pytest's own while tests run."""
    folder = os.environ.setdefault(STACKS_FOLDER, tempfile.gettempdir())
    config.stash[STACKS] = Path(folder, f"wirekey-stacks-{os.getpid()}").open("w+")  # noqa: SIM115  # open until the end
    faulthandler.enable(config.stash[STACKS])


def pytest_unconfigure(config):
    faulthandler.disable()
    with config.stash[STACKS] as file:
        Path(file.name).unlink()


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(report):
    """Say how a process of pytest-xdist has ended, and where its threads were."""
    process = report.node.gateway._io.popen
    stacks = Path(os.environ[STACKS_FOLDER], f"wirekey-stacks-{process.pid}")
    text = stacks.read_text() if stacks.exists() else "no stacks"
    report.sections.append((f"the process ended with {process.wait(10)}", text))
    stacks.unlink(missing_ok=True)


LAST_POSTPONED = [float("-inf")]


def postpone_end(stacks):
    """Restart the time after which the process is ended, if half of `MERCY` has passed: it costs a thread."""
    now = time.monotonic()
    if now - LAST_POSTPONED[0] > MERCY / 2:
        LAST_POSTPONED[0] = now
        faulthandler.dump_traceback_later(LIMIT + MERCY, exit=True, file=stacks)


def pytest_sessionfinish():
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """End a test that hangs, with the stacks of all threads, so that the run goes on."""

    stacks = item.config.stash[STACKS]

    def fail(number, frame):
        signal.setitimer(signal.ITIMER_REAL, 0)
        stacks.seek(0)
        faulthandler.dump_traceback(stacks)
        stacks.seek(0)
        item.add_report_section("call", "stacks", stacks.read())
        pytest.fail(f"The test ran for more than {LIMIT:g} s (WIREKEY_TEST_SECONDS).")

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    postpone_end(stacks)
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


def pytest_terminal_summary(terminalreporter):
    """With --durations, print how long the tests and fixtures of each file took."""
    if terminalreporter.config.option.durations is None:
        return
    files = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                files[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("slowest files")
    for file, seconds in files.most_common(SLOWEST_SHOWN):
        terminalreporter.write_line(f"{seconds:.1f} s {file}")


@pytest.fixture(autouse=True)
def no_call_is_in_progress():
    """A test that opens a call outside a task leaves its name behind, in the context of all that follow."""
    current_call_id.set(None)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and the programs that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
