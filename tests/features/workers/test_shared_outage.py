"""What all replicas share is away: each replica stays behind HAProxy, and says so in the provider's shape.

With the real HAProxy and PostgreSQL, while 16 clients call. WIREKEY_OUTAGE_SECONDS sets how long PostgreSQL is away.
"""

from __future__ import annotations

import os
import threading
import time

import httpx
import pytest

from tests.support.balancer import LISTENERS, fleet_behind, haproxy_program
from tests.support.postgres_server import fragile_postgres, own_postgres
from tests.support.raw_client import RawClient
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, Wirekey, behind, wait_for
from tests.support.steady_load import SteadyLoad

__all__ = ["fragile_postgres", "own_postgres"]

SECONDS = float(os.environ.get("WIREKEY_OUTAGE_SECONDS", "3"))
"""Longer than HAProxy takes to mark a replica down."""
CLIENTS = 16
HEADER = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"


def console(replica, path: str) -> httpx.Response:
    """Return what a path of the console returns to the load balancer."""
    with RawClient(replica.running.console) as client:
        client.send(HEADER + f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        response = client.read_response()
    return httpx.Response(response.status, content=response.body)


def not_refused_in_shape(load: SteadyLoad) -> list[tuple[str, str]]:
    """Return what clients saw other than a response, or 503 `cannot_record` in OpenAI's format."""
    return [
        (model, seen)
        for model, seen in load.failures
        if not (seen.startswith("503 ") and "cannot_record" in seen and '{"error":{' in seen)
    ]


@pytest.mark.alone
def test_clients_get_503_and_no_closed_connection_while_postgresql_is_away(tmp_path, simulator, own_postgres):
    program = haproxy_program()
    audit = {"store": own_postgres.new_database(), "on_failure": "refuse"}
    with fleet_behind(program, tmp_path, simulator, audit=audit) as (balancer, replicas):
        load = SteadyLoad(balancer, replicas[0].token, CLIENTS)
        wait_for(lambda: len(load.answered) > 50, "some calls")
        assert load.failures == []
        own_postgres.stop()
        wait_for(lambda: len(load.failures) > 2 * CLIENTS, "calls to be refused")
        until, ready = time.monotonic() + SECONDS, set()
        while time.monotonic() < until:
            ready |= {console(replica, "/ready").status_code for replica in replicas}
            time.sleep(0.2)
        own_postgres.start()
        done = len(load.answered)
        wait_for(lambda: len(load.answered) > done + 50, "calls to succeed again")
        refused = len(load.failures)
        load.stop()
    assert not_refused_in_shape(load) == []
    assert refused > 2 * CLIENTS
    assert ready == {200}


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
def test_a_replica_that_starts_while_postgresql_is_away_says_so_and_goes_on_when_it_is_there(
    tmp_path, simulator, own_postgres, workers
):
    url = own_postgres.new_database()
    own_postgres.stop()
    simulator.forget()
    settings = behind(simulator, listen=LISTENERS, workers=workers, audit={"store": url, "on_failure": "refuse"})
    replica = Wirekey(tmp_path / "replica", settings, environ=KEY_ENVIRONMENT)
    try:
        assert "Calls are refused until it can be written" in replica.output.read_text()
        with httpx.Client(timeout=PATIENCE, trust_env=False, base_url=f"http://{replica.running.gateway}") as http:
            away = {"audit_database": {"available": False, "reason": "the audit database cannot be reached"}}
            health = http.get("/health")
            assert (health.status_code, health.json()["dependencies"]) == (200, away)
            assert http.get("/ready").status_code == 200
            key = {"authorization": f"Bearer {replica.add_agent()}"}
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}

            def call() -> httpx.Response:
                return http.post("/v1/chat/completions", json=body, headers=key)

            wait_for(lambda: call().status_code == 503, "the agent to be known")
            assert call().json()["error"]["code"] == "cannot_record"
            assert simulator.seen == []
            own_postgres.start()
            wait_for(lambda: call().status_code == 200, "the database to be used")
            wait_for(lambda: http.get("/health").json()["dependencies"]["audit_database"]["available"], "no trouble")
    finally:
        replica.stop()


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
def test_a_new_replica_without_a_copy_of_the_agents_waits_for_their_database(
    tmp_path, simulator, own_postgres, workers
):
    """It would refuse every agent, so it must not listen."""
    url = own_postgres.new_database()
    own_postgres.stop()
    more = {"agents": {"store": url}, "secrets": {"master": "env:MASTER"}, "listen": LISTENERS, "workers": workers}
    environ = KEY_ENVIRONMENT | {"MASTER": "00112233445566778899aabbccddeeff" * 2}
    folder = tmp_path / "replica"
    starting = threading.Thread(
        target=lambda: started.append(Wirekey(folder, behind(simulator, **more), environ=environ))
    )
    started: list[Wirekey] = []
    starting.start()
    try:
        said = folder / "output.txt"
        wait_for(lambda: said.exists() and "waits until it can read them" in said.read_text(), "it to wait")
        assert not started
        own_postgres.start()
    finally:
        starting.join(2 * PATIENCE)
        for replica in started:
            replica.stop()
    assert len(started) == 1
