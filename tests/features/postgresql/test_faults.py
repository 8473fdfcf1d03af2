"""Faults of the audit database while 16 clients call, plain and streamed: nothing is sent without a record.

With `refuse`, calls get 503 while the database is away. With `spool`, no call fails, and each event arrives once.
WIREKEY_DATABASE_FAULT_SECONDS sets how long a fault lasts (0.5 by default), WIREKEY_DATABASE_KILL_ROUNDS the number of
rounds with `kill -9` (2 by default).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import threading
import time

import psycopg
import pytest

from tests.support.load import chat, tunnel
from tests.support.postgres_server import fragile_postgres, own_postgres
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind, wait_for
from wirekey.core.audit.checkpoints import KEY_USE, CheckpointKey
from wirekey.core.audit.verifying import Findings, verify
from wirekey.core.secret import Secret
from wirekey.features.postgresql.reading import reading

__all__ = ["fragile_postgres", "own_postgres"]
pytestmark = pytest.mark.alone

SECONDS = float(os.environ.get("WIREKEY_DATABASE_FAULT_SECONDS", "0.5"))
ROUNDS = int(os.environ.get("WIREKEY_DATABASE_KILL_ROUNDS", "2"))
CLIENTS = 16
SLOW = """
CREATE FUNCTION wirekey.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
CREATE TRIGGER slow BEFORE INSERT ON wirekey.chain FOR EACH STATEMENT EXECUTE FUNCTION wirekey.slow();
"""


class Clients:
    """16 threads that call until `stop`, every other call streamed, and note each status by its model name."""

    def __init__(self, proxy, token, name) -> None:
        self.proxy, self.token, self.name = proxy, token, name
        self.numbers = itertools.count()
        self.statuses: dict[str, int | None] = {}
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.call_on, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def call_on(self) -> None:
        while not self.ended.is_set():
            with contextlib.suppress(OSError, AssertionError), tunnel(self.proxy, self.token) as client:
                while not self.ended.is_set():
                    number = next(self.numbers)
                    model = f"{self.name}-{number}"
                    self.statuses[model] = None
                    client.send(chat(model, stream=number % 2 == 0, said=model))
                    self.statuses[model] = client.read_response().status
            time.sleep(0.02)

    def stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def count(self, *statuses) -> int:
        return sum(status in statuses for status in list(self.statuses.values()))

    def wait_for_more(self, status: int, more: int = 20) -> None:
        enough = self.count(status) + more
        wait_for(lambda: self.count(status) >= enough, f"{more} more responses {status}", 60)


@pytest.fixture
def simulator(tmp_path):
    running = SimulatorThread(tmp_path / "simulator")
    yield running
    running.stop()


def proxy_of(tmp_path, simulator, url, **audit):
    settings = behind(simulator, audit={"store": url, **audit})
    return Wirekey(tmp_path / "wirekey", settings, environ=KEY_ENVIRONMENT)


def outcomes(url) -> list[tuple[str, str | None]]:
    with contextlib.closing(psycopg.connect(url)) as connection:
        return connection.execute("SELECT requested_model, outcome FROM wirekey.calls").fetchall()


def seen_by(simulator) -> list[str]:
    return [json.loads(request.body)["model"] for request in simulator.seen]


def problems_of(proxy, url):
    key = CheckpointKey(proxy.agents.derived_key(KEY_USE))
    findings = Findings()
    with reading(Secret(url)) as database:
        for chain in database.chains():
            verify(findings, chain, [], {key.id: key.public})
    return findings.problems


@contextlib.contextmanager
def fault(server, url, kind):
    """Make trouble, and end it."""
    name = url.rpartition("/")[2]
    if kind == "stopped":
        server.stop()
        yield
        server.start()
    elif kind == "cut":
        server.cut_connections()
        yield
        server.cut_connections()
    elif kind == "hangs":
        server.pause()
        yield
        server.go_on()
    else:
        with server.connect(name) as connection:
            connection.execute(SLOW)
        yield
        with server.connect(name) as connection:
            connection.execute("DROP FUNCTION wirekey.slow CASCADE")


@pytest.mark.parametrize("kind", ["stopped", "cut", "hangs", "slow"])
@pytest.mark.parametrize("on_failure", ["refuse", "spool"])
def test_trouble_of_the_database_under_load(tmp_path, simulator, own_postgres, on_failure, kind):
    url = own_postgres.new_database()
    proxy = proxy_of(tmp_path, simulator, url, on_failure=on_failure)
    try:
        load = Clients(proxy, proxy.add_agent("alice"), kind)
        load.wait_for_more(200)
        with fault(own_postgres, url, kind):
            if on_failure == "refuse" and kind != "cut":
                load.wait_for_more(503)
            time.sleep(SECONDS)
        load.wait_for_more(200)
        load.stop()
    finally:
        proxy.stop()
    recorded = outcomes(url)
    models = [model for model, _ in recorded]
    assert len(models) == len(set(models)), "an event arrived twice"
    seen = seen_by(simulator)
    assert set(seen) <= set(models), f"sent without a record: {sorted(set(seen) - set(models))}"
    assert None not in {outcome for _, outcome in recorded}
    assert problems_of(proxy, url) == []
    refused = {model for model, status in load.statuses.items() if status == 503}
    if on_failure == "refuse":
        assert not refused & set(seen), "a refused call was sent"
    else:
        assert load.statuses.keys() <= set(models)
        assert set(load.statuses.values()) <= {200, None}, "a call failed"
        assert load.count(None) <= CLIENTS


def test_no_request_is_seen_upstream_without_its_intent_when_wirekey_or_the_database_is_killed(
    tmp_path, simulator, own_postgres, record_property
):
    """50 rounds take minutes: WIREKEY_TEST_SECONDS=1500 WIREKEY_DATABASE_KILL_ROUNDS=50 .venv/bin/pytest … -k killed"""
    url = own_postgres.new_database()
    proxy = proxy_of(tmp_path, simulator, url)
    token, moments = proxy.add_agent("alice"), random.Random()
    try:
        for number in range(ROUNDS):
            load = Clients(proxy, token, f"round{number}")
            load.wait_for_more(200)
            time.sleep(moments.uniform(0, 0.5))
            if number % 2:
                own_postgres.kill()
                time.sleep(moments.uniform(0, 0.5))
                own_postgres.start()
                load.wait_for_more(200)
                load.stop()
            else:
                proxy.stop(signal.SIGKILL)
                load.stop()
            recorded = dict(outcomes(url))
            missing = set(seen_by(simulator)) - recorded.keys()
            assert not missing, f"sent without a record: {sorted(missing)}"
            if number % 2 == 0:
                proxy.start()
                in_progress = [model for model, outcome in outcomes(url) if outcome is None]
                assert in_progress == [], "calls of the killed process are still in progress"
                assert {dict(outcomes(url))[model] for model, outcome in recorded.items() if outcome is None} <= {
                    "interrupted"
                }
    finally:
        proxy.stop()
    assert problems_of(proxy, url) == []
    record_property("kills", ROUNDS)
    record_property("requests that the provider saw", len(seen_by(simulator)))
