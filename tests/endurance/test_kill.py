"""kill -9 at random moments under load: what the provider saw is in the audit, and nothing else is lost.

Six rounds by default; WIREKEY_KILL_ROUNDS sets another number, and -s shows the figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time

from tests.endurance.load import Load
from tests.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind

ROUNDS = int(os.environ.get("WIREKEY_KILL_ROUNDS", "6"))
CLIENTS = 16
LONGEST_ROUND = 1.5


def test_no_request_that_the_provider_saw_lacks_its_record_however_wirekey_dies(tmp_path):
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
            assert models <= events.keys(), "records of former rounds are lost"
            under_way = {model for model, event in events.items() if event["outcome"] is None}
            models = set(events)

            if number % 3 == 2:
                die_while_starting(proxy, moments)
            proxy.start()
            outcomes = {event["requested_model"]: event["outcome"] for event in proxy.events()}
            assert outcomes.keys() == models
            assert {outcomes[model] for model in under_way} <= {"interrupted"}
            assert None not in outcomes.values()
            assert files_to_keep(proxy) == kept
            figures.append((len(seen), len(under_way)))
            simulator.forget()
        print(f"{ROUNDS} kills; requests seen by the provider, and of those under way: {figures}")
        assert any(under_way for _, under_way in figures), "no kill hit a call under way: the rounds show nothing"
    finally:
        proxy.stop()
        simulator.stop()


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
