"""GOAWAY from an HTTP/2 provider: accepted streams complete, and unprocessed ones are sent again.

The client notices neither. GOAWAY names the last stream that the provider processes (RFC 9113, section 6.8).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3

import httpx
import pytest

from tests.deliveries.paths import OVER_HTTP2
from tests.support.running import PATIENCE
from tests.support.stream_formats import PLACEHOLDER

URL = "https://api.openai.com/v1/chat/completions"
unique_numbers = itertools.count()

pytestmark = pytest.mark.parametrize("path", [OVER_HTTP2], indirect=True, ids=["h2"])


@pytest.fixture
async def client(deployment):
    """A client with one connection, which can make several calls at the same time."""
    async with httpx.AsyncClient(
        verify=deployment.contexts["h2"],
        proxy=deployment.proxy.proxy_url("alice", deployment.tokens["alice"]),
        http1=False,
        http2=True,
        timeout=PATIENCE,
        trust_env=False,
    ) as client:
        yield client


def chat_request(model: str, *directives: str, stream: bool = False) -> dict:
    """Return the arguments for httpx of a chat. `directives`: what the simulator is to do."""
    headers = {"authorization": f"Bearer {PLACEHOLDER}", "content-type": "application/json"}
    if directives:
        headers["x-simulator"] = ", ".join(directives)
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    return {"url": URL, "headers": headers, "content": json.dumps(body).encode()}


def unique_model() -> str:
    """Return a model whose route allows one attempt."""
    return f"alone-goaway-{next(unique_numbers)}"


def failures_of(deployment, call_id: str) -> list[str | None]:
    """Return the recorded failure of each attempt of a call, None for one that succeeded."""
    with contextlib.closing(sqlite3.connect(deployment.proxy.state / "audit.db")) as database:
        rows = database.execute("SELECT failure FROM attempts WHERE call_id = ? ORDER BY number", [call_id])
        return [failure for (failure,) in rows]


async def start_stream(deployment, client):
    """Start a stream that the provider accepts, and pauses at its second event. Returns its model and its task."""
    model = unique_model()
    streaming = asyncio.create_task(client.post(**chat_request(model, "gate", stream=True)))
    async with asyncio.timeout(PATIENCE):
        while not deployment.simulator.simulator.gate.waiting:
            await asyncio.sleep(0.01)
    return model, streaming


async def finish_stream(deployment, streaming):
    """Let the provider continue the stream. Returns the response."""
    deployment.simulator.loop.call_soon_threadsafe(deployment.simulator.simulator.gate.open)
    return await streaming


async def test_accepted_streams_complete_and_later_ones_use_a_new_connection(deployment, path, client):
    model, streaming = await start_stream(deployment, client)
    last, after = unique_model(), unique_model()
    assert (await client.post(**chat_request(last, "goaway"))).status_code == 200
    assert (await client.post(**chat_request(after))).status_code == 200
    response = await finish_stream(deployment, streaming)
    assert response.status_code == 200
    assert response.text.endswith("data: [DONE]\n\n")
    events = deployment.events([model, last, after])
    assert {(event["outcome"], event["attempts"]) for event in events.values()} == {("completed", 1)}
    first, second, third = (request.connection for request in deployment.simulator.seen)
    assert first == second != third


async def test_a_stream_above_the_last_processed_one_is_sent_again(deployment, path, client):
    accepted_model, streaming = await start_stream(deployment, client)
    model = unique_model()
    deployment.simulator.simulator.script.add("disown")
    response = await client.post(**chat_request(model))
    assert response.status_code == 200, response.text
    assert (await finish_stream(deployment, streaming)).text.endswith("data: [DONE]\n\n")
    event = deployment.events([accepted_model, model])[model]
    assert (event["outcome"], event["status"], event["attempts"]) == ("completed", 200, 2)
    assert failures_of(deployment, event["id"]) == ["unprocessed", None]
    _, first, second = deployment.simulator.seen
    assert first.body == second.body
    assert first.connection != second.connection


async def test_an_unprocessed_delete_is_sent_again_because_nothing_was_deleted(deployment, path, client):
    deployment.simulator.simulator.script.add("disown")
    headers = {"authorization": f"Bearer {PLACEHOLDER}"}
    response = await client.delete("https://api.openai.com/v1/files/file-none", headers=headers)
    assert len(deployment.simulator.seen) == 2
    assert response.status_code == deployment.simulator.seen[1].status == 404


async def test_a_request_that_is_never_processed_is_sent_four_times(deployment, path, client):
    model = unique_model()
    deployment.simulator.simulator.script.add("disown", 10)
    response = await client.post(**chat_request(model))
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_reset")
    event = deployment.events([model])[model]
    assert (event["outcome"], event["attempts"]) == ("upstream_reset", 4)
    assert len(deployment.simulator.seen) == 4
