"""Several workers behave as one Wirekey, and none of them is missed.

WIREKEY_FLEET_ROUNDS=10 repeats the rounds in which a worker is killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.support.running import wait_for
from tests.support.steady_load import SteadyLoad

ROUNDS = int(os.environ.get("WIREKEY_FLEET_ROUNDS", "2"))
CLIENTS = 16


def workers_of(proxy) -> list[int]:
    """The process ids of the workers that run."""
    children = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def tags(proxy) -> Counter:
    """How many calls each worker has recorded, by the end of their ids."""
    return Counter(event["id"][-2:] for event in proxy.events())


@pytest.mark.alone
def test_workers_share_the_calls(start):
    proxy = start(workers=2)
    token = proxy.add_agent()
    load = SteadyLoad(proxy, token, CLIENTS)
    wait_for(lambda: len(load.answered) > 300, "some calls")
    load.stop()
    pids = workers_of(proxy)
    assert load.failures == []
    assert proxy.stop() == 0
    assert {event["replica"] for event in proxy.events()} == {f"{socket.gethostname()}:{pid}" for pid in pids}
    shares = tags(proxy)
    assert len(shares) == 2
    assert min(shares.values()) > sum(shares.values()) / 10, shares
    events = {event["requested_model"]: event["outcome"] for event in proxy.events()}
    assert {events[model] for model in load.answered} == {"completed"}
    assert not (proxy.state / "running.json").exists()


@pytest.mark.alone
def test_a_killed_worker_loses_only_its_own_open_calls(start, simulator):
    proxy = start(workers=2)
    token = proxy.add_agent()
    moments = random.Random()
    lost = 0
    for number in range(ROUNDS):
        load = SteadyLoad(proxy, token, CLIENTS, f"round{number}")
        wait_for(lambda load=load: len(load.answered) > 30, "some calls")
        time.sleep(moments.uniform(0, 0.5))
        before = wait_for(lambda: (found := workers_of(proxy)) and len(found) == 2 and found, "two workers")
        victim = moments.choice(before)
        os.kill(victim, signal.SIGKILL)
        done = len(load.answered)
        wait_for(lambda load=load, done=done: len(load.answered) > done + 50, "calls of the other worker")
        wait_for(lambda before=before: len(set(workers_of(proxy)) - set(before)) == 1, "another worker")
        wait_for(lambda: listening_workers(proxy) == 2, "it to listen")
        load.stop()
        seen = {json.loads(request.body)["model"] for request in simulator.seen}
        wait_for(lambda: all(event["outcome"] for event in proxy.events()), "the outcomes")
        events = {event["requested_model"]: event for event in proxy.events()}
        assert seen <= events.keys(), f"sent without a record: {sorted(seen - events.keys())}"
        assert {event["outcome"] for event in events.values()} <= {"completed", "interrupted"}
        interrupted = {model for model, event in events.items() if event["outcome"] == "interrupted"}
        failed = {model for model, _ in load.failures if model.startswith("round")}
        own = {events[model]["id"][-2:] for model in interrupted if model.startswith(f"round{number}-")}
        assert len(own) <= 1, "calls of a worker that was not killed are interrupted"
        assert len(load.failures) <= CLIENTS, load.failures
        lost += len(failed)
    assert lost, "no kill hit a call in progress: the rounds show nothing"
    assert "was ended by SIGKILL. It is started again" in proxy.output.read_text()


def listening_workers(proxy) -> int:
    parts = read(proxy, "/ready")
    return sum(worker["trouble"] is None for worker in parts["workers"])


def read(proxy, path: str) -> dict:
    try:
        with urllib.request.urlopen(f"http://{proxy.running.console}{path}", timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


@pytest.mark.alone
def test_workers_are_replaced_without_a_failed_call(start):
    proxy = start(workers=2)
    token = proxy.add_agent()
    load = SteadyLoad(proxy, token, CLIENTS)
    wait_for(lambda: len(load.answered) > 50, "some calls")
    before = set(workers_of(proxy))
    proxy.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "All workers were replaced" in proxy.output.read_text(), "new workers")
    wait_for(lambda: not before & set(workers_of(proxy)), "the previous workers to end")
    done = len(load.answered)
    wait_for(lambda: len(load.answered) > done + 50, "calls of the new workers")
    load.stop()
    assert load.failures == []
    assert proxy.stop() == 0
    events = {event["requested_model"]: event["outcome"] for event in proxy.events()}
    assert set(events.values()) == {"completed"}
    assert len(tags(proxy)) == 4


def test_a_configuration_that_is_not_valid_replaces_no_worker(start):
    proxy = start(workers=2)
    before = workers_of(proxy)
    (proxy.folder / "wirekey.yaml").write_text("listen: nonsense")
    proxy.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "The workers are not replaced" in proxy.output.read_text(), "the reason")
    assert workers_of(proxy) == before


def test_the_workers_end_with_their_supervisor(start):
    proxy = start(workers=2)
    pids = workers_of(proxy)
    proxy.process.kill()
    proxy.process.wait()
    for pid in pids:
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"worker {pid} to end")


def test_the_start_with_auto_says_how_many_workers_there_are_and_why(start):
    proxy = start(workers="auto")
    assert "workers: auto starts " in proxy.output.read_text()
