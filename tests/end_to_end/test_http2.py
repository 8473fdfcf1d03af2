"""HTTP/1.1 and HTTP/2 on either side: equal bytes, equal faults, many streams on one connection."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.end_to_end.test_streams import Stage, asked_on_its_behalf, stage_with
from tests.support.running import PATIENCE, SimulatorThread, wirekey_behind
from tests.support.stream_formats import FORMATS, HOSTS, PLACEHOLDER, RawWay, decoded, headers_for, trust
from wirekey.core.call import new_call_id

STREAMS = 20


@pytest.fixture(scope="module", params=["h1-upstream", "h2-upstream"])
def upstream(request, tmp_path_factory):
    """The simulator with one protocol or with both; the protocol that it is spoken to by an HTTP/2 client."""
    both = request.param == "h2-upstream"
    protocols = ("h2", "http/1.1") if both else ("http/1.1",)
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), protocols=protocols)
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator) as proxy:
        proxy.token = proxy.add_agent("alice")
        yield simulator, proxy, "h2" if both else "h1"
    simulator.stop()


@pytest.fixture(scope="module")
def ways(upstream) -> dict[str, Stage]:
    simulator, proxy, _ = upstream
    h1, h2 = stage_with(simulator, proxy), stage_with(simulator, proxy)
    h2.behind = RawWay(proxy.root, proxy=proxy.proxy_url("alice", proxy.token), http2=True)
    return {"h1-client": h1, "h2-client": h2}


@pytest.fixture(params=["h1-client", "h2-client"])
def stage(request, ways) -> Stage:
    stage = ways[request.param]
    stage.began = new_call_id()
    stage.simulator.forget()
    return stage


def spoken(stage, upstream) -> str:
    """The protocol that the provider is to be spoken to: HTTP/2 only for a client that speaks it."""
    return upstream[2] if stage.behind.http2 else "h1"


@pytest.mark.parametrize("behaviour", ["", "unicode, split=7", "gzip"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_is_the_same_bytes_over_either_protocol(name, behaviour, stage, upstream):
    wanted = FORMATS[name]
    expected, received = stage.both(wanted, behaviour)
    if asked_on_its_behalf(name):
        assert received.body == expected.body
    else:
        assert received.raw == expected.raw
    assert stage.arrived().protocol == spoken(stage, upstream)
    event = stage.event()
    assert (event["outcome"], event["status"], event["operation"]) == ("completed", 200, wanted.operation)
    assert event["output_tokens"] or name == "gemini-openai"


@pytest.mark.parametrize("name", FORMATS)
def test_the_first_event_arrives_before_the_second_is_sent_over_either_protocol(name, stage):
    wanted = FORMATS[name]
    response = stage.behind.open(wanted, "gate")
    assert response.http_version == ("HTTP/2" if stage.behind.http2 else "HTTP/1.1")
    chunks = decoded(response.iter_raw(), response.headers)
    got = b""
    while not wanted.first_event(got):
        got += next(chunks)
    assert stage.arrived().events == 1
    stage.open_gate()
    assert b"".join(chunks)


@pytest.mark.parametrize("fault", ["reset", "truncate"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_stream_is_broken_over_either_protocol(name, fault, stage):
    wanted = FORMATS[name]
    received = stage.behind.stream(wanted, f"gate, {fault}-after=2", at_first_event=stage.open_gate)
    assert received.broke_off
    assert wanted.first_event(received.body)
    assert stage.event()["outcome"] == "upstream_reset"


def test_the_connection_continues_after_a_stream_reset(stage):
    wanted = FORMATS["anthropic"]
    stage.behind.stream(wanted, "gate, reset-after=2", at_first_event=stage.open_gate)
    assert not stage.behind.stream(wanted).broke_off


@pytest.mark.parametrize("content", [b"", b"x" * 300_000], ids=["empty", "large"])
def test_bodies_in_both_directions_are_whole(content, stage):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content.decode()}]}
    response = stage.behind.call("openai", "POST", "/v1/chat/completions", "size=300000", json=body)
    assert len(response.json()["choices"][0]["message"]["content"]) == 300_000
    assert json.loads(response.request.content) == body
    assert stage.arrived().size == len(response.request.content)


def test_twenty_concurrent_streams_on_one_connection(upstream):
    """All wait at the gate together: none of them waits for another one to end."""
    simulator, proxy, protocol = upstream
    simulator.forget()
    began = new_call_id()
    wanted = FORMATS["bedrock-invoke"]

    async def stream(client, number) -> bytes:
        headers = headers_for("bedrock", wanted.path, PLACEHOLDER)
        headers |= {"content-type": "application/json", "x-simulator": f"gate, events={10 + number}"}
        url = f"https://{HOSTS['bedrock']}{wanted.path}"
        async with client.stream("POST", url, headers=headers, content=json.dumps(wanted.body)) as response:
            return b"".join([chunk async for chunk in response.aiter_raw()])

    async def everything() -> list[bytes]:
        address = proxy.proxy_url("alice", proxy.token)
        async with httpx.AsyncClient(
            verify=trust(proxy.root, http2=True),
            proxy=address,
            http1=False,
            http2=True,
            timeout=PATIENCE,
            trust_env=False,
        ) as client:
            running = [asyncio.create_task(stream(client, number)) for number in range(STREAMS)]
            async with asyncio.timeout(PATIENCE):
                while simulator.simulator.gate.waiting < STREAMS:
                    await asyncio.sleep(0.01)
            simulator.loop.call_soon_threadsafe(simulator.simulator.gate.open)
            return await asyncio.gather(*running)

    bodies = asyncio.run(everything())
    assert {seen.protocol for seen in simulator.seen} == {protocol}
    direct = RawWay(simulator.ca_file, simulator.url)
    for number, body in enumerate(bodies):
        assert body == direct.stream(wanted, f"events={10 + number}").raw
    events = proxy.finished_events(STREAMS, began)
    assert len(events) == STREAMS
    assert {event["outcome"] for event in events} == {"completed"}
    assert sorted(event["output_tokens"] for event in events) == [10 + number for number in range(STREAMS)]
