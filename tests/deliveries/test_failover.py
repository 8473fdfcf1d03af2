"""Failover over every delivery and path: each failing status, on a fresh connection and on one that was used before.

WIREKEY_DELIVERY_ROUNDS sets how often all of it is played.
"""

from __future__ import annotations

import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.deliveries.paths import DELIVERIES, PATHS, names, sent

ROUNDS = int(os.environ.get("WIREKEY_DELIVERY_ROUNDS", "1"))
STATUSES = (429, 500, 502, 503, 504, 529)
ALL = list(itertools.product(DELIVERIES, PATHS))
MESSAGES = [{"role": "user", "content": "hello"}]
numbers = itertools.count()


def play(stage, path, delivery, model) -> list[tuple[str, httpx.Response]]:
    """Make a call twice, on a fresh connection and on one that was used; give what was asked for and answered."""
    played = []
    with stage.client(path.client) as client:
        for _ in range(2):
            asked = model.format(next(numbers))
            body = json.dumps({"model": asked, "messages": MESSAGES}).encode()
            played.append((asked, client.post(**sent("openai", "/v1/chat/completions", delivery, body))))
    return played


def check(stage, path, played) -> None:
    """See that each call ended well everywhere, at its second attempt."""
    events = stage.events([asked for asked, _ in played])
    for asked, answer in played:
        event = events[asked]
        case = (asked, answer.status_code, answer.text[:300], event["outcome"], event["attempts"])
        assert answer.status_code == 200, case
        assert answer.json()["choices"], case
        assert answer.http_version == {"h1": "HTTP/1.1", "h2": "HTTP/2"}[path.client], case
        assert (event["outcome"], event["status"], event["attempts"]) == ("completed", 200, 2), case
    assert {request.protocol for request in stage.simulator.seen} == {path.upstream}
    assert len(stage.simulator.seen) == 2 * len(played)


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize(("delivery", "path"), ALL, ids=names, indirect=["path"])
def test_each_failed_status_leads_to_the_next_attempt(stage, path, delivery, number):
    with ThreadPoolExecutor(len(STATUSES)) as pool:
        models = [f"again-{{}}.sim-fail-{status}" for status in STATUSES]
        played = pool.map(lambda model: play(stage, path, delivery, model), models)
    check(stage, path, [call for calls in played for call in calls])


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize(("delivery", "path"), ALL, ids=names, indirect=["path"])
def test_a_refused_key_leads_to_the_next_key(stage, path, delivery, number):
    words = DELIVERIES[delivery]
    for script in (f"fail=401, {words}", words) * 2:
        stage.simulator.simulator.script.add(script)
    played = play(stage, path, delivery, "two-keys-{}")
    check(stage, path, played)
    assert [request.status for request in stage.simulator.seen] == [401, 200] * 2
