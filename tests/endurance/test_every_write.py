"""Every write to the audit log fails once: nothing is sent without a record, and Wirekey continues afterwards.

A library in the process makes the n-th write, sync, rename or removal below the state folder fail, for every n of a
call, plain and streamed, with each error. After each, the requests that the provider saw are compared with the log.
"""

from __future__ import annotations

import errno
import itertools

import pytest

from tests.endurance.failing import SHORT, Faults, compiled
from tests.endurance.test_kill import problems_of_chain
from tests.support.call_records import Calls
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind

FOREVER = 1000
"""More writes than a call makes."""
FAULTS = {
    "EIO": (errno.EIO, 1), "EIO at each write": (errno.EIO, FOREVER), "ENOSPC": (errno.ENOSPC, 1),
    "EINTR": (errno.EINTR, 1), "a short write": (SHORT, 1),
}  # fmt: skip
"""The error, and how many writes fail."""


class NewWirekey(Wirekey):
    """A process that loads the library: one that is forked has loaded its own."""

    new_process = True


@pytest.fixture
def faults(tmp_path):
    state = tmp_path / "wirekey" / "state"
    state.mkdir(parents=True, mode=0o700)
    return Faults(compiled(tmp_path), tmp_path / "control", state)


@pytest.fixture
def simulator(tmp_path):
    running = SimulatorThread(tmp_path / "simulator")
    yield running
    running.stop()


@pytest.mark.parametrize(("durability", "stream"), [("commit", True), ("fsync", False)])
def test_no_write_that_fails_lets_a_call_pass_without_its_record(
    faults, simulator, durability, stream, record_property
):
    settings = behind(simulator, audit={"durability": durability})
    proxy = NewWirekey(faults.watched.parent, settings, environ=KEY_ENVIRONMENT | faults.environment)
    calls = Calls(simulator, proxy, lambda: {event["requested_model"]: event["outcome"] for event in proxy.events()})
    try:
        most = calls.most_of(stream, lambda: faults.counted)
        assert most >= 2, "the library does not see the writes: the test shows nothing"
        hit = 0
        for (name, (error, repeat)), nth in itertools.product(FAULTS.items(), range(1, most + 1)):
            with faults.failing(nth, error, repeat):
                status = calls.call(stream)
                assert status in (200, 503), (name, nth, status)
                calls.check_records(f"{name}, write {nth}")
                if status == 200 and repeat == 1:
                    calls.settle()  # the outcome is written after the response
                hit += faults.failed > 0
            if status != 200 or repeat == FOREVER:
                calls.until_it_serves(stream)
        assert hit > most, "few writes failed: the test shows little"
        calls.check_end()
        assert problems_of_chain(proxy) == []
        record_property("failed writes", hit)
        record_property("requests that the provider saw", len(calls.sent()))
    finally:
        proxy.stop()
