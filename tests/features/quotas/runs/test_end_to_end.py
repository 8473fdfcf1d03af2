"""Runs in a running proxy: what programs get when a limit is reached, and when a run is extended or stopped."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from tests.features.quotas.runs.conftest import CENT, CHAT, COST, Run
from tests.support.redis_server import RedisServer
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, Wirekey, behind, wait_for
from wirekey.core.identity.runs import LimitChange
from wirekey.features.quotas.ledger import totals_in
from wirekey.features.quotas.runs.quota import key_of

both_modes = pytest.mark.parametrize("mode", ["HTTPS_PROXY", "base_url"])
RESERVED = (1001 * 10e-6 + 100 * 2.5e-6) * 1e9
"""The largest cost of one call in billionths of a dollar."""
WITHIN = 2.0
"""Seconds in which a change of a run applies."""


def used(run: Run) -> dict[str, int]:
    """Return what the ledger has of a run."""
    record = run.runs.find(run.name).record
    totals = totals_in(run.proxy.state / "quotas.db")
    return {name: totals[key].amount for name in ("usd", "calls", "tokens") if (key := key_of(record, name)) in totals}


@both_modes
def test_a_spent_run_gets_429_with_its_name_and_the_command_that_extends_it(proxy, mode):
    run = Run(proxy, mode=mode, budget=CENT)
    assert run.post().status_code == 200
    refused = run.post()
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert error["code"] == "insufficient_quota"
    assert error["message"].startswith(f"The run {run.name} has used $0.01 of $0.01. To extend it: ")
    assert error["message"].endswith(f"runs extend {run.name} --budget +5")
    wait_for(lambda: used(run).get("calls") == 1, "the ledger")
    assert CENT < used(run)["usd"] < CENT + RESERVED
    wait_for(lambda: len(run.events()) == 2, "the audit log")
    assert run.events()[1]["policy_reason"].startswith("insufficient_quota: The run")


def test_the_error_has_the_form_of_its_provider(proxy):
    run = Run(proxy, calls=1)
    assert run.post().status_code == 200
    with run.client() as client:
        anthropic = client.post(
            "https://api.anthropic.com/v1/messages",
            json=CHAT | {"model": "claude-sonnet-4-5"},
            headers={"x-api-key": "none"},
        )
        gemini = client.post(
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent",
            json={"contents": [{"role": "user", "parts": [{"text": "Hello?"}]}]},
        )
    assert (anthropic.status_code, gemini.status_code) == (429, 429)
    assert anthropic.json()["type"] == "error"
    for message in (anthropic.json()["error"]["message"], gemini.json()["error"]["message"]):
        assert f"The run {run.name} has used 1 call of 1 call" in message


@both_modes
@pytest.mark.parametrize("limits", [{"budget": CENT // 2}, {"tokens": 500}], ids=["dollars", "tokens"])
def test_a_run_that_reserves_what_is_expected_ends_its_stream(proxy, mode, limits):
    run = Run(proxy, mode=mode, reserve="expected", **limits)
    body = CHAT | {"stream": True, "max_tokens": 16_000}
    with run.client() as client:
        ended = client.post(run.url, json=body, headers={"x-simulator": "size=60KiB, events=120, pace=0.02"})
    assert ended.status_code == 200
    assert f"The run {run.name} has reached its limit of" in ended.text
    assert "insufficient_quota" in ended.text
    wait_for(lambda: used(run).get("calls") == 1, "the ledger")
    assert used(run)["tokens"] < 3000
    wait_for(lambda: run.events()[0]["outcome"], "the audit log")
    assert (run.events()[0]["outcome"], run.events()[0]["policy_reason"]) == ("interrupted", "insufficient_quota")


@both_modes
@pytest.mark.parametrize(
    ("limits", "option", "more"),
    [({"budget": CENT}, "budget", CENT), ({"calls": 1}, "calls", 1), ({"tokens": 500}, "tokens", 1000)],
)
def test_an_extended_run_continues_within_two_seconds(proxy, mode, limits, option, more):
    run = Run(proxy, mode=mode, **limits)
    assert run.post().status_code == 200
    with run.client() as client:  # connections stay open
        post = lambda: client.post(run.url, json=CHAT, headers={"x-simulator": COST}).status_code  # noqa: E731
        assert post() == 429
        run.runs.extend(run.name, {option: LimitChange(more, is_added=True)}, None)
        began = time.monotonic()
        wait_for(lambda: post() == 200, "the extension")
        assert time.monotonic() - began < WITHIN
        assert post() == 429


def test_a_run_has_no_calls_after_its_time_until_it_is_extended(proxy):
    run = Run(proxy, seconds=1)
    wait_for(lambda: run.post().status_code == 429, "the end of its time")
    assert f"The time of the run {run.name} was over" in run.post().json()["error"]["message"]
    run.runs.extend(run.name, {}, LimitChange(3600, is_added=True))
    wait_for(lambda: run.post().status_code == 200, "the extension")


@both_modes
def test_a_run_that_is_stopped_ends_its_open_streams(proxy, mode):
    run = Run(proxy, mode=mode)
    with run.client() as client:
        behaviour = {"x-simulator": "events=400, pace=0.05"}
        with client.stream("POST", run.url, json=CHAT | {"stream": True}, headers=behaviour) as response:
            lines = response.iter_lines()
            assert next(lines)
            began = time.monotonic()
            run.runs.end(run.name)
            rest = list(lines)
            assert any("agent_revoked" in line for line in rest), rest[-3:]
            assert time.monotonic() - began < WITHIN
    if mode == "HTTPS_PROXY":
        with pytest.raises(httpx.ProxyError, match="407"):
            run.post()
    else:
        assert run.post().status_code == 401


def test_the_agent_and_its_other_tokens_are_not_limited(proxy):
    run = Run(proxy, calls=1)
    assert [run.post().status_code for _ in range(2)] == [200, 429]
    with run.client(run.agent_token) as client:
        assert client.post(run.url, json=CHAT).status_code == 200
    with run.client() as client:  # a second token within the tunnel of the run
        headers = {"authorization": f"Bearer {run.agent_token}"}
        assert client.post(run.url, json=CHAT, headers=headers).status_code == 429
    wait_for(lambda: len(run.events()) == 4, "the audit log")  # it is filtered by the agent


def test_quotas_of_the_agent_hold_for_its_runs(tmp_path, simulator):
    quotas = [{"name": "minutely", "per": "agent", "requests_per_minute": 1}]
    proxy = Wirekey(tmp_path, behind(simulator, quotas=quotas), environ=KEY_ENVIRONMENT)
    try:
        run = Run(proxy, calls=100)
        assert run.post().status_code == 200
        assert "The quota minutely" in run.post().json()["error"]["message"]
    finally:
        proxy.stop()


def spend_in_parallel(runs: list[Run]) -> None:
    """Call with 64 clients, which share the run and the proxies, until it is spent."""

    def spend(run: Run) -> None:
        with run.client() as client:
            while True:
                behaviour = {"x-simulator": f"{COST}, headers-delay=0.05"}
                response = client.post(run.url, json=CHAT, headers=behaviour)
                if response.status_code == 200:
                    continue
                if response.json()["error"]["code"] == "insufficient_quota":
                    return
                # A loaded Redis may not respond in time, so that nothing is sent.
                assert response.json()["error"]["code"] in ("rate_limit_exceeded", "quota_unavailable"), response.text
                time.sleep(0.02)

    clients = [threading.Thread(target=spend, args=[runs[number % len(runs)]]) for number in range(64)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(PATIENCE * 2)
    assert not any(client.is_alive() for client in clients)


def recorded_cost(run: Run) -> float:
    return sum(event["cost_usd"] or 0 for event in run.events())


@both_modes
def test_64_sub_agents_spend_no_more_than_the_budget_and_one_reservation(proxy, mode):
    run = Run(proxy, mode=mode, budget=50 * CENT)
    spend_in_parallel([run])
    wait_for(lambda: used(run)["usd"] >= 50 * CENT, "the ledger")
    assert used(run)["usd"] < 50 * CENT + RESERVED
    wait_for(lambda: round(recorded_cost(run) * 1e9) == used(run)["usd"], "the audit log to have what the ledger has")


def test_two_workers_enforce_one_run(tmp_path, simulator):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    proxy = Wirekey(tmp_path, behind(simulator, workers=2, listen=listen), environ=KEY_ENVIRONMENT)
    try:
        run = Run(proxy, mode="base_url", budget=30 * CENT)
        spend_in_parallel([run])
        wait_for(lambda: used(run)["usd"] >= 30 * CENT, "the ledger")
        assert used(run)["usd"] < 30 * CENT + RESERVED
        assert len({event["replica"] for event in run.events()}) == 2
    finally:
        proxy.stop()


def test_two_machines_with_redis_enforce_one_run(tmp_path, simulator):
    """The agents of both are the same, as `agents.store` or a copied file makes them."""
    server = RedisServer(tmp_path / "redis")
    settings = behind(simulator, shared_state=server.url)
    proxies = [Wirekey(tmp_path / name, settings, environ=KEY_ENVIRONMENT) for name in ("one", "two")]
    try:
        run = Run(proxies[0], budget=30 * CENT)
        (proxies[1].state / "agents.json").write_bytes((proxies[0].state / "agents.json").read_bytes())
        second = object.__new__(Run)
        second.__dict__.update(run.__dict__ | {"proxy": proxies[1]})
        for each in (run, second):
            wait_for(lambda each=each: each.post().status_code == 200, "a call on each machine")
        spend_in_parallel([run, second])

        def total() -> int:
            return used(run).get("usd", 0) + used(second).get("usd", 0)

        wait_for(lambda: total() >= 30 * CENT, "the ledgers")
        assert total() < 30 * CENT + RESERVED
        assert min(used(run)["calls"], used(second)["calls"]) > 0
    finally:
        for proxy in proxies:
            proxy.stop()
        server.stop()
