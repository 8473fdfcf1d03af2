"""THREATS 2.9, R1: failover over every delivery and path, on a new connection and on one that was used before.

WIREKEY_DELIVERY_ROUNDS sets how often all tests are repeated.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.deliveries.paths import DELIVERIES, each_delivery_on_each_path, row_agents

ROUNDS = int(os.environ.get("WIREKEY_DELIVERY_ROUNDS", "1"))
STATUSES = (429, 500, 502, 503, 504, 529)
CHAT = ("openai", "POST", "/v1/chat/completions")
MESSAGES = [{"role": "user", "content": "hello"}]
unique_numbers = itertools.count()


def call_twice(deployment, path, delivery, model, number=0) -> list[tuple[str, httpx.Response]]:
    """Make two calls over one client connection. Returns each requested model with its response.

    The second call uses connections that the first one has used. `model` has a placeholder for a unique number.
    """
    results = []
    with row_agents(deployment, path, delivery, number) as next_agent:
        for _ in range(2):
            agent, requested_model = next_agent(), model.format(next(unique_numbers))
            body = {"model": requested_model, "messages": MESSAGES}
            results.append((requested_model, agent.client.request(**agent.request(*CHAT, json=body))))
    return results


def assert_second_attempts_succeeded(deployment, path, results) -> None:
    """Check the client's response, the audit event and the provider's requests of each call."""
    events = deployment.events([requested_model for requested_model, _ in results])
    for requested_model, response in results:
        event = events[requested_model]
        details = (requested_model, response.status_code, response.text[:300], event["outcome"], event["attempts"])
        assert response.status_code == 200, details
        assert response.json()["choices"], details
        assert response.http_version == {"h1": "HTTP/1.1", "h2": "HTTP/2"}[path.client], details
        assert (event["outcome"], event["status"], event["attempts"]) == ("completed", 200, 2), details
    assert {request.protocol for request in deployment.simulator.seen} == {path.upstream}
    assert len(deployment.simulator.seen) == 2 * len(results)


@pytest.mark.parametrize("number", range(ROUNDS))
@each_delivery_on_each_path
def test_R1_a_failed_response_in_any_delivery_leads_to_the_next_attempt(deployment, path, delivery, number):
    with ThreadPoolExecutor(len(STATUSES)) as pool:
        models = [f"again-{{}}.sim-fail-{status}" for status in STATUSES]
        results = pool.map(lambda row: call_twice(deployment, path, delivery, row[1], row[0]), enumerate(models))
    assert_second_attempts_succeeded(deployment, path, [result for pair in results for result in pair])


@pytest.mark.parametrize("number", range(ROUNDS))
@each_delivery_on_each_path
def test_R1_a_refused_key_in_any_delivery_leads_to_the_next_key(deployment, path, delivery, number):
    directives = DELIVERIES[delivery]
    for scripted in (f"fail=401, {directives}", directives) * 2:
        deployment.simulator.simulator.script.add(scripted)
    results = call_twice(deployment, path, delivery, "two-keys-{}")
    assert_second_attempts_succeeded(deployment, path, results)
    assert [request.status for request in deployment.simulator.seen] == [401, 200] * 2
