"""A provider says goodbye: what it accepted ends well, what it did not begin with is sent again, unseen."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3

import httpx
import pytest

from tests.deliveries.paths import PATHS
from tests.end_to_end.stream_formats import PLACEHOLDER
from tests.running import PATIENCE

OVER_HTTP2 = PATHS[-1]
numbers = itertools.count()
URL = "https://api.openai.com/v1/chat/completions"

pytestmark = pytest.mark.parametrize("path", [OVER_HTTP2], indirect=True, ids=["h2"])


@pytest.fixture
async def client(stage):
    """One connection, for calls at the same time."""
    async with httpx.AsyncClient(
        verify=stage.contexts["h2"],
        proxy=stage.proxy.proxy_url("alice", stage.tokens["alice"]),
        http1=False,
        http2=True,
        timeout=PATIENCE,
        trust_env=False,
    ) as client:
        yield client


def asked(model: str, *words: str, stream: bool = False) -> dict:
    headers = {"authorization": f"Bearer {PLACEHOLDER}", "content-type": "application/json"}
    if words:
        headers["x-simulator"] = ", ".join(words)
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    return {"url": URL, "headers": headers, "content": json.dumps(body).encode()}


def model() -> str:
    return f"alone-goaway-{next(numbers)}"


def failures(stage, call_id: str) -> list[str | None]:
    with contextlib.closing(sqlite3.connect(stage.proxy.state / "audit.db")) as database:
        rows = database.execute("SELECT failure FROM attempts WHERE call_id = ? ORDER BY number", [call_id])
        return [failure for (failure,) in rows]


async def stream_under_way(stage, client):
    """Give what waits for the answer of a stream that the provider has accepted, and holds at its second event."""
    wanted = model()
    waiting = asyncio.create_task(client.post(**asked(wanted, "gate", stream=True)))
    async with asyncio.timeout(PATIENCE):
        while not stage.simulator.simulator.gate.waiting:
            await asyncio.sleep(0.01)
    return wanted, waiting


async def finish(stage, waiting):
    stage.simulator.loop.call_soon_threadsafe(stage.simulator.simulator.gate.open)
    return await waiting


async def test_streams_that_were_accepted_end_well(stage, path, client):
    wanted, waiting = await stream_under_way(stage, client)
    last, after = model(), model()
    assert (await client.post(**asked(last, "goaway"))).status_code == 200
    assert (await client.post(**asked(after))).status_code == 200
    answer = await finish(stage, waiting)
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")
    events = stage.events([wanted, last, after])
    assert {(event["outcome"], event["attempts"]) for event in events.values()} == {("completed", 1)}
    first, second, third = (request.connection for request in stage.simulator.seen)
    assert first == second != third


async def test_a_stream_above_the_last_one_is_sent_again(stage, path, client):
    wanted, waiting = await stream_under_way(stage, client)
    again = model()
    stage.simulator.simulator.script.add("disown")
    answer = await client.post(**asked(again))
    assert answer.status_code == 200, answer.text
    assert (await finish(stage, waiting)).text.endswith("data: [DONE]\n\n")
    event = stage.events([wanted, again])[again]
    assert (event["outcome"], event["status"], event["attempts"]) == ("completed", 200, 2)
    assert failures(stage, event["id"]) == ["unprocessed", None]
    _, first, second = stage.simulator.seen
    assert first.body == second.body
    assert first.connection != second.connection


async def test_what_changes_something_is_sent_again_too_as_nothing_was_done(stage, path, client):
    stage.simulator.simulator.script.add("disown")
    headers = {"authorization": f"Bearer {PLACEHOLDER}"}
    answer = await client.delete("https://api.openai.com/v1/files/file-none", headers=headers)
    assert len(stage.simulator.seen) == 2
    assert answer.status_code == stage.simulator.seen[1].status == 404


async def test_who_never_begins_is_not_asked_for_ever(stage, path, client):
    wanted = model()
    stage.simulator.simulator.script.add("disown", 10)
    answer = await client.post(**asked(wanted))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_reset")
    event = stage.events([wanted])[wanted]
    assert (event["outcome"], event["attempts"]) == ("upstream_reset", 4)
    assert len(stage.simulator.seen) == 4
