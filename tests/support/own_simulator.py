"""A simulator for the tests of one file, for those that script it or count what it has seen."""

from __future__ import annotations

import time

import pytest

from tests.support.running import SimulatorThread
from wirekey.core.call import new_call_id


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture
def since():
    """An id of the moment before the test."""
    time.sleep(0.002)
    return new_call_id()
