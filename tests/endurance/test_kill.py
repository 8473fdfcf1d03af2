"""kill -9 at random moments under load: what the provider saw is in the audit, and nothing else is lost.

Six rounds by default; WIREKEY_KILL_ROUNDS sets another number, and -s shows the figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter

import pytest

from tests.support.load import Load
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind
from wirekey.core.audit.checkpoints import KEY_USE, CheckpointKey
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.verifying import Findings, verify

pytestmark = pytest.mark.alone

ROUNDS = int(os.environ.get("WIREKEY_KILL_ROUNDS", "6"))
CLIENTS = 16
LONGEST_ROUND = 1.5


def test_each_request_that_the_provider_saw_is_recorded_if_wirekey_is_killed(tmp_path, record_property):
    simulator = SimulatorThread(tmp_path / "simulator")
    proxy = Wirekey(tmp_path / "wirekey", behind(simulator), environ=KEY_ENVIRONMENT)
    token = proxy.add_agent("alice")
    kept = files_to_keep(proxy)
    moments = random.Random()
    models: set[str] = set()
    figures = []
    try:
        for number in range(ROUNDS):
            load = Load(proxy, token, CLIENTS, f"round{number}")
            load.first_answer.wait(30)
            time.sleep(moments.uniform(0, LONGEST_ROUND))
            proxy.stop(signal.SIGKILL)
            load.join()
            seen = {json.loads(request.body)["model"] for request in simulator.seen}
            assert seen, "the load reached nobody: the round shows nothing"
            events = {event["requested_model"]: event for event in proxy.events()}
            assert seen <= events.keys(), f"sent without a record: {sorted(seen - events.keys())}"
            assert models <= events.keys(), "records of earlier rounds are lost"
            in_progress = {model for model, event in events.items() if event["outcome"] is None}
            models = set(events)

            if number % 3 == 2:
                die_while_starting(proxy, moments)
            proxy.start()
            outcomes = {event["requested_model"]: event["outcome"] for event in proxy.events()}
            assert outcomes.keys() == models
            assert {outcomes[model] for model in in_progress} <= {"interrupted"}
            assert None not in outcomes.values()
            assert files_to_keep(proxy) == kept
            assert problems_of_chain(proxy) == []
            figures.append((len(seen), len(in_progress)))
            simulator.forget()
        print(f"{ROUNDS} kills; requests seen by the provider, and of those in progress: {figures}")
        record_property("kills", ROUNDS)
        record_property("requests that the provider saw", sum(seen for seen, _ in figures))
        assert any(in_progress for _, in_progress in figures), "no kill hit a call in progress: the rounds show nothing"
    finally:
        proxy.stop()
        simulator.stop()


def test_each_attempt_that_the_provider_saw_is_recorded_if_wirekey_is_killed_during_failover(tmp_path, record_property):
    """Each call fails at its first model, in two packets, and goes on to the second one, or to a third."""
    simulator = SimulatorThread(tmp_path / "simulator")
    routes = [
        {"match": "round*", "fallback": ["sim-fail-503", "gpt-4.1"], "failover": {"max_attempts": 3}},
        {"match": "sim-fail-503"},
    ]
    proxy = Wirekey(tmp_path / "wirekey", behind(simulator, routes=routes), environ=KEY_ENVIRONMENT)
    token = proxy.add_agent("alice")
    moments = random.Random()
    figures = []
    try:
        for number in range(ROUNDS):
            load = Load(proxy, token, CLIENTS, f"round{number}", ".sim-fail-429")
            load.first_answer.wait(30)
            time.sleep(moments.uniform(0, LONGEST_ROUND))
            proxy.stop(signal.SIGKILL)
            load.join()
            sent = Counter(json.loads(request.body)["messages"][0]["content"] for request in simulator.seen)
            recorded = attempts_recorded(proxy)
            assert sent, "the load reached nobody: the round shows nothing"
            missing = {call: times for call, times in sent.items() if times > recorded.get(call, 0)}
            assert not missing, f"sent more often than recorded: {missing}"
            proxy.start()
            assert None not in [event["outcome"] for event in proxy.events()]
            figures.append((sum(sent.values()), len(sent)))
            simulator.forget()
        print(f"{ROUNDS} kills; requests that the provider saw, and their calls: {figures}")
        record_property("kills", ROUNDS)
        record_property("requests that the provider saw", sum(requests for requests, _ in figures))
        assert any(requests > calls for requests, calls in figures), "no call failed over: the rounds show nothing"
    finally:
        proxy.stop()
        simulator.stop()


def attempts_recorded(proxy: Wirekey) -> dict[str, int]:
    """Return how many attempts the store has of each call, by requested model."""
    with contextlib.closing(sqlite3.connect(proxy.state / "audit.db")) as database:
        return dict(
            database.execute(
                "SELECT requested_model, max(1, (SELECT count(*) FROM attempts WHERE call_id = id)) FROM calls"
            )
        )


def die_while_starting(proxy: Wirekey, moments: random.Random) -> None:
    """Start, and kill before or after it listens."""
    with contextlib.suppress(AssertionError):
        threadless_start(proxy)
        time.sleep(moments.uniform(0, 2))
        proxy.process.kill()
        proxy.process.wait()


def threadless_start(proxy: Wirekey) -> None:
    waiting, proxy.is_up = proxy.is_up, lambda: "not waited for"
    try:
        proxy.start()
    finally:
        proxy.is_up = waiting


def files_to_keep(proxy: Wirekey) -> dict[str, bytes]:
    files = [proxy.state / "agents.json", proxy.folder / "wirekey.yaml", *sorted(proxy.certs.glob("*.p*"))]
    return {file.name: file.read_bytes() for file in files}


def problems_of_chain(proxy):
    """Return what `audit verify` finds."""
    key = CheckpointKey(proxy.agents.derived_key(KEY_USE))
    with SqliteAudit(proxy.state / "audit.db").reading() as database:
        findings = Findings()
        verify(findings, *database.chains(), [], {key.id: key.public})
    return findings.problems
