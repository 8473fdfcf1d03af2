"""Workers of one machine, and replicas with one Redis, enforce a budget together.

Few clients call replicas, with a small budget, as all of them share the processors of this machine. On a free machine:
WIREKEY_QUOTA_CLIENTS=64 .venv/bin/pytest tests/features/workers/test_quotas.py
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import ssl
import threading
import time
from collections import Counter

import httpx
import pytest
from click.testing import CliRunner

from tests.support.redis_server import RedisServer
from tests.support.running import PATIENCE, wait_for
from wirekey.cli.main import group

URL = "https://api.openai.com/v1/chat/completions"
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1000}
RESERVED = 1001 * 10e-6 + 100 * 2.5e-6
QUOTAS = [{"name": "dollar", "per": "all", "usd_per_day": 1}]
CLIENTS = 64
CLIENTS_OF_REPLICAS = int(os.environ.get("WIREKEY_QUOTA_CLIENTS", "3"))
CLIENTS_UNDER_LOAD = 4
"""Clients of each replica that call without a pause: together, they keep the processors of this machine busy."""


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


def client_of(proxy, token: str, agent: str = "alice") -> httpx.Client:
    context = ssl.create_default_context(cafile=proxy.root)
    return httpx.Client(proxy=proxy.proxy_url(agent, token), verify=context, timeout=PATIENCE, trust_env=False)


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


@pytest.mark.parametrize("how", ["workers", "replicas"])
def test_a_quota_of_a_team_and_its_raise_hold_for_all_processes(start, redis_server, how):
    redis_server.empty()
    quotas = [
        {"name": "teams", "per": "label:team", "requests_per_day": 4, "overrides": {"ads": {"requests_per_day": 1}}}
    ]
    if how == "workers":
        proxies = [start(workers=2, quotas=quotas)]
    else:
        proxies = [start(quotas=quotas, shared_state=redis_server.url) for _ in range(2)]

    def calls(team: str) -> int:
        """Let two agents of a team call at each process until all are refused. Return how many calls were sent."""
        sent, codes = 0, Counter[str]()
        for proxy in proxies:
            for agent in (f"{team}-1", f"{team}-2"):
                if not any(each.id == agent for each in proxy.agents.agents()):
                    tokens[proxy, agent] = proxy.add_agent(agent, labels={"team": team})
        while sum(codes.values()) < 8:
            for (proxy, agent), token in tokens.items():
                if not agent.startswith(team):
                    continue
                with client_of(proxy, token, agent) as client:
                    response = client.post(URL, json=REQUEST)
                if response.status_code == 200:
                    sent += 1
                elif (code := response.json()["error"]["code"]) != "quota_unavailable":
                    assert code in ("insufficient_quota", "rate_limit_exceeded"), code
                    codes[code] += code == "insufficient_quota"
        return sent

    tokens: dict = {}
    assert (calls("search"), calls("ads")) == (4, 1)
    words = ["raise", "teams", "search", "--requests", "3", "--until", "1h", "--why", "A release."]
    configuration = ["--config", str(proxies[0].folder / "wirekey.yaml")]
    assert CliRunner().invoke(group, ["quotas", *words, *configuration]).exit_code == 0
    sent = 0

    def raised() -> bool:
        nonlocal sent
        sent += calls("search")
        return sent == 3

    wait_for(raised, "the raise")
    assert (calls("search"), calls("ads")) == (0, 0)
    operations = [each["operation"] for proxy in proxies for each in proxy.events()]
    assert operations.count("quota.raise") == 1, "one of all processes records it"


class Clients:
    """Clients that call under load until the budget is used up, or until their replica is killed."""

    def __init__(self, proxies: list, each: int = CLIENTS_UNDER_LOAD) -> None:
        self.proxies, self.killed = proxies, set[int]()
        self.codes: Counter[str] = Counter()
        tokens = [proxy.add_agent("alice") for proxy in proxies]
        self.threads = [
            threading.Thread(target=self.call_on, args=(number, token), daemon=True)
            for number, token in enumerate(tokens)
            for _ in range(each)
        ]
        for thread in self.threads:
            thread.start()

    def call_on(self, number: int, token: str) -> None:
        with client_of(self.proxies[number], token) as client:
            while True:
                try:
                    response = client.post(URL, json=REQUEST, headers={"x-simulator": "tokens=1000"})
                except httpx.HTTPError:
                    if number in self.killed:
                        return
                    raise
                code = "sent" if response.status_code == 200 else response.json()["error"]["code"]
                self.codes[code] += 1
                if code == "insufficient_quota":
                    return
                if code != "sent":
                    time.sleep(0.05)

    def kill(self, number: int) -> None:
        self.killed.add(number)
        self.proxies[number].process.kill()

    def wait(self) -> float:
        """Wait until the budget is used up. Return what the calls cost that have ended."""
        for thread in self.threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive(), self.codes
        left = [proxy for number, proxy in enumerate(self.proxies) if number not in self.killed]
        wait_for(lambda: all(event["outcome"] for proxy in left for event in proxy.events()), "all calls to end")
        return sum(event["cost_usd"] or 0 for proxy in self.proxies for event in proxy.events())


def test_a_server_that_stops_under_load_refuses_budgets_and_one_that_restarts_empty_knows_what_was_spent(
    start, redis_server
):
    redis_server.empty()
    proxies = [start(quotas=[QUOTAS[0] | {"usd_per_day": 0.5}], shared_state=redis_server.url)]
    clients = Clients(proxies, 2 * CLIENTS_UNDER_LOAD)
    wait_for(lambda: clients.codes["sent"] >= 10, "calls")
    redis_server.stop()
    wait_for(lambda: clients.codes["quota_unavailable"], "a refusal")
    redis_server.start()
    assert 0.5 <= clients.wait() <= 0.5 + len(clients.threads) * RESERVED
    expected = {"sent", "quota_unavailable", "insufficient_quota"}
    assert expected <= set(clients.codes) <= {*expected, "rate_limit_exceeded"}, "the last one: all is reserved"


@pytest.mark.parametrize("how", ["FLUSHALL", "restart"])
def test_replicas_under_load_keep_their_budget_if_one_is_killed_and_then_the_server_loses_its_data(
    start, redis_server, how
):
    redis_server.empty()
    limit = 1.0
    quotas = [QUOTAS[0] | {"usd_per_day": limit}]
    clients = Clients([start(quotas=quotas, shared_state=redis_server.url) for _ in range(3)])
    wait_for(lambda: clients.codes["sent"] >= limit / RESERVED / 3, "a third of the budget to be spent")
    clients.kill(0)
    for share in (0.4, 0.5, 0.6, 0.8):
        wait_for(lambda share=share: clients.codes["sent"] >= share * limit / RESERVED, "calls after the loss")
        if how == "FLUSHALL":
            redis_server.empty()
        else:
            redis_server.stop()
            redis_server.start()
    assert limit - CLIENTS_UNDER_LOAD * RESERVED <= clients.wait() <= limit + len(clients.threads) * RESERVED
    assert clients.codes["insufficient_quota"] == 2 * CLIENTS_UNDER_LOAD


@pytest.mark.parametrize("behaviour", ["stall-after=0", "events=4, stall-after=2"], ids=["before", "within"])
def test_calls_that_clients_cut_stay_charged_after_their_replica_is_killed_and_the_server_has_lost_its_data(
    start, redis_server, behaviour
):
    """Their events have no cost. The other replica has never used the budget: it has seen the total."""
    redis_server.empty()
    cut = 3
    quotas = [QUOTAS[0] | {"usd_per_day": cut * 0.01}]
    gone, left = proxies = [start(quotas=quotas, shared_state=redis_server.url) for _ in range(2)]
    tokens = [proxy.add_agent("alice") for proxy in proxies]
    with client_of(gone, tokens[0]) as client:
        for _ in range(cut):
            with contextlib.suppress(httpx.TimeoutException):
                client.post(URL, json=REQUEST | {"stream": True}, headers={"x-simulator": behaviour}, timeout=1)
    wait_for(lambda: seen_by(left) >= cut * 0.01, "the other replica to see the total")
    events = [event for event in gone.events() if event["outcome"]]
    assert {(event["outcome"], event["cost_usd"]) for event in events} <= {("client_cancelled", None), ("denied", None)}
    gone.process.kill()
    redis_server.empty()
    assert first_code(left, tokens[1]) == "insufficient_quota"


def seen_by(proxy) -> float:
    """Return the largest total of all replicas that a replica has written to its folder, in dollars."""
    with contextlib.closing(sqlite3.connect(proxy.state / "quotas.db")) as database:
        return (database.execute("SELECT max(amount) FROM seen").fetchone()[0] or 0) / 1e9


def first_code(proxy, token: str) -> str:
    """Return the first response that is not a refusal for want of the server."""
    with client_of(proxy, token) as client:
        while True:
            response = client.post(URL, json=REQUEST)
            code = "sent" if response.status_code == 200 else response.json()["error"]["code"]
            if code != "quota_unavailable":
                return code
            time.sleep(0.05)
