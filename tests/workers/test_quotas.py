"""Workers of one machine, and replicas with one Redis, enforce a budget together.

Few clients call replicas, with a small budget, as all of them share the processors of this machine. On a free machine:
WIREKEY_QUOTA_CLIENTS=64 .venv/bin/pytest tests/workers/test_quotas.py
"""

from __future__ import annotations

import os
import ssl
import threading
import time

import httpx
import pytest

from tests.redis_server import RedisServer
from tests.running import PATIENCE, wait_for

URL = "https://api.openai.com/v1/chat/completions"
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1000}
RESERVED = 1001 * 10e-6 + 100 * 2.5e-6
QUOTAS = [{"name": "dollar", "per": "all", "usd_per_day": 1}]
CLIENTS = 64
CLIENTS_OF_REPLICAS = int(os.environ.get("WIREKEY_QUOTA_CLIENTS", "3"))


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


def client_of(proxy, token: str) -> httpx.Client:
    context = ssl.create_default_context(cafile=proxy.root)
    return httpx.Client(proxy=proxy.proxy_url("alice", token), verify=context, timeout=PATIENCE, trust_env=False)


def spend(proxies: list, number_of_clients: int = CLIENTS) -> tuple[float, set[str]]:
    """Let clients call until the budget is used up. Return what the calls cost, and the codes of the refusals."""
    tokens = [proxy.add_agent("alice") for proxy in proxies]
    codes: set[str] = set()

    def calls(number: int) -> None:
        with client_of(proxies[number % len(proxies)], tokens[number % len(proxies)]) as client:
            while True:
                response = client.post(
                    URL, json=REQUEST | {"stream": bool(number % 2)}, headers={"x-simulator": "tokens=1000, events=5"}
                )
                if response.status_code == 200:
                    continue
                code = response.json()["error"]["code"]
                codes.add(code)
                if code == "insufficient_quota":
                    return
                time.sleep(0.5 if response.status_code == 503 else 0.05)

    clients = [threading.Thread(target=calls, args=(number,)) for number in range(number_of_clients)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(2 * PATIENCE)
    assert not any(client.is_alive() for client in clients)

    def ended():
        events = [event for proxy in proxies for event in proxy.events()]
        return events if all(event["outcome"] for event in events) else None

    return sum(event["cost_usd"] or 0 for event in wait_for(ended, "all calls to end")), codes


def test_workers_spend_no_more_than_a_dollar_and_one_reservation_for_each_client(start):
    cost, codes = spend([start(workers=2, quotas=QUOTAS)])
    assert 1 <= cost <= 1 + CLIENTS * RESERVED
    assert "insufficient_quota" in codes


def test_replicas_spend_no_more_than_their_budget_and_one_reservation_for_each_client(start, redis_server):
    redis_server.empty()
    quotas = [QUOTAS[0] | {"usd_per_day": 0.03}]
    cost, codes = spend([start(quotas=quotas, shared_state=redis_server.url) for _ in range(3)], CLIENTS_OF_REPLICAS)
    assert 0.03 <= cost <= 0.03 + CLIENTS_OF_REPLICAS * RESERVED
    assert "insufficient_quota" in codes


def test_a_server_that_stops_refuses_budgets_and_one_that_restarts_empty_knows_what_was_spent(start, redis_server):
    redis_server.empty()
    proxy = start(quotas=[{"name": "cents", "per": "agent", "usd_per_day": 0.025}], shared_state=redis_server.url)
    with client_of(proxy, proxy.add_agent("alice")) as client:

        def post() -> httpx.Response:
            return client.post(URL, json=REQUEST, headers={"x-simulator": "tokens=1000"})

        assert [post().status_code for _ in range(2)] == [200, 200]
        redis_server.stop()
        refused = post()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "quota_unavailable")
        redis_server.start()
        wait_for(lambda: post().status_code == 200, "the server to be used again")
        spent = wait_for(lambda: (found := post()).status_code == 429 and found, "the budget to be used up")
        assert spent.json()["error"]["code"] == "insufficient_quota"
    assert sum(event["cost_usd"] or 0 for event in proxy.events()) <= 0.025 + 2 * RESERVED
