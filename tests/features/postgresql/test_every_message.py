"""Every message to the audit database in PostgreSQL fails once: nothing is sent without a record.

A proxy before the database ends or stops the connection at the n-th message, for every n of a call, alternately plain
and streamed. If it ends after the message and before the reply, Wirekey does not know what was committed.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter

import psycopg
import pytest

from tests.features.postgresql.test_faults import problems_of
from tests.support.call_records import Calls
from tests.support.cutting_proxy import AFTER, BEFORE, HANG, CuttingProxy
from tests.support.postgres_server import postgres
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind

__all__ = ["postgres"]

KINDS = (BEFORE, AFTER, HANG)
TIMEOUT = 0.5
"""Seconds that Wirekey waits for the database."""


@pytest.fixture
def simulator(tmp_path):
    running = SimulatorThread(tmp_path / "simulator")
    yield running
    running.stop()


def recorded(url: str) -> dict[str, str | None]:
    """Return the outcome of each model. Raises AssertionError if a call is recorded twice."""
    with contextlib.closing(psycopg.connect(url)) as connection:
        rows = connection.execute("SELECT requested_model, outcome FROM wirekey.calls").fetchall()
    assert len(dict(rows)) == len(rows), "a call is recorded twice"
    return dict(rows)


def test_no_message_that_fails_lets_a_call_pass_without_its_record(postgres, simulator, tmp_path, record_property):
    url = postgres.new_database()
    network = CuttingProxy(postgres.port)
    store = url.replace(f":{postgres.port}/", f":{network.port}/")
    proxy = Wirekey(
        tmp_path / "wirekey",
        behind(simulator, audit={"store": store, "timeout": TIMEOUT}),
        environ=KEY_ENVIRONMENT,
    )
    calls = Calls(simulator, proxy, lambda: recorded(url))
    try:
        most = calls.most_of(True, lambda: network.counted)
        assert most >= 2, "the proxy does not see the messages: the test shows nothing"
        hits: Counter[str] = Counter()
        for kind, nth in itertools.product(KINDS, range(1, most + 1)):
            network.arm(nth, kind)
            stream = nth % 2 == 0
            status = calls.call(stream)
            assert status in (200, 503), (kind, nth, status)
            calls.check_records(f"{kind}, message {nth}")
            calls.settle()  # the outcome is written after the response
            network.arm(0)
            if status != 200:
                calls.until_it_serves(stream)
            hits[kind] += network.hit - sum(hits.values())
        assert min(hits[kind] for kind in KINDS) >= 2, f"few messages failed, so the test shows little: {hits}"
        calls.check_end()
        assert problems_of(proxy, url) == []
        record_property("failed messages", network.hit)
        record_property("requests that the provider saw", len(calls.sent()))
    finally:
        proxy.stop()
        network.close()
