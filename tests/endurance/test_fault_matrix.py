"""Each fault of an upstream: plain and streamed, over HTTP/1.1 and HTTP/2, with and without an alternative.

The tests check what the client gets, how often the call was sent, what the audit says, and that nothing is left over.
"""

from __future__ import annotations

import json
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from tests.endurance.faulty_upstream import blackhole, refused, tls_stall
from tests.support.load import chat, now, tunnel
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind, wait_for
from tests.support.stream_formats import RawWay

LIMIT = 2
"""Seconds of each limit of time."""
QUICK = {"connect": LIMIT, "first_byte": LIMIT, "idle": LIMIT}
ONCE = {"max_attempts": 1}
TWICE = {"max_attempts": 2}
SECOND_MODEL = "gpt-4o-mini"
LAST_ROUTE = "routes[9]"
"""That of the second model."""
OUTSIDE = ("refused", "blackhole", "tls-stall")
"""Faults of places where there is no provider at all; all others are the simulator's, by the name of the model."""


@dataclass(frozen=True)
class Fault:
    """`plain`, `stream`: the model that fails like this. `raised`: by the SDK if there is no alternative."""

    plain: str
    stream: str
    status: int
    outcome: str
    raised: type[Exception]
    words: str = ""

    @property
    def is_before_the_answer(self) -> bool:
        return self.status != 200


HUNG_UP = "The provider closed the connection before it responded."
MUTE = f"The provider sent nothing for {LIMIT} s (timeouts.first_byte)."
NOT_CONNECTED = f"No connection to 127.0.0.1 within {LIMIT} s (timeouts.connect)."
IDLE = f"The provider sent nothing for {LIMIT} s (timeouts.idle)."
FAULTS = {
    "refused": Fault("refused", "refused", 502, "upstream_error", openai.InternalServerError, "could not be reached"),
    "blackhole": Fault("blackhole", "blackhole", 504, "timeout", openai.InternalServerError, NOT_CONNECTED),
    "TLS stall": Fault("tls-stall", "tls-stall", 504, "timeout", openai.InternalServerError, NOT_CONNECTED),
    "no headers": Fault("sim-stall-0", "sim-stall-0", 504, "timeout", openai.InternalServerError, MUTE),
    "429": Fault("sim-fail-429", "sim-fail-429", 429, "upstream_error", openai.RateLimitError, "Rate limit"),
    "503": Fault("sim-fail-503", "sim-fail-503", 503, "upstream_error", openai.InternalServerError, "unavailable"),
    "reset before headers": Fault(
        "sim-reset-0", "sim-reset-0", 502, "upstream_reset", openai.InternalServerError, HUNG_UP
    ),
    "reset mid-stream": Fault("sim-reset-1", "sim-reset-2", 200, "upstream_reset", openai.APIConnectionError),
    "stall mid-stream": Fault("sim-stall-1", "sim-stall-2", 200, "timeout", openai.APIError),
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    with refused() as closed, blackhole() as hole, tls_stall(folder) as mute:
        routes = []
        for name, url in zip(OUTSIDE, (closed, hole, mute), strict=True):
            there = {"upstream_url": url, "auth": "bearer", "keys": ["env:THERE"]}
            routes += [
                {"match": f"alone-{name}", **there, "failover": ONCE},
                {"match": f"again-{name}", **there, "failover": TWICE, "fallback": [SECOND_MODEL]},
            ]
        routes += [
            {"match": "alone-*", "failover": ONCE},
            {"match": "again-*", "failover": TWICE, "fallback": [SECOND_MODEL]},
            {"match": "key-*", "provider": "openai", "keys": ["env:FIRST", "env:SECOND"], "failover": TWICE},
            {"match": SECOND_MODEL},
        ]
        assert len(routes) == 1 + int(LAST_ROUTE[7:-1])
        settings = behind(simulator, timeouts=QUICK, routes=routes)
        keys = dict.fromkeys(("THERE", "FIRST", "SECOND"), PROVIDER_KEYS["openai"])
        running = Wirekey(folder, settings, environ=KEY_ENVIRONMENT | keys)
        running.tokens = {client: running.add_agent(client) for client in CLIENTS}
        yield running
        running.stop()
    said = running.output.read_text()
    for sign in ("Traceback", "crashed", "a layer failed", "was destroyed", "never retrieved", "never awaited"):
        assert sign not in said, said
    left = [event for event in running.events() if event["outcome"] in (None, "interrupted")]
    assert not left, "a call was left without an outcome"


@dataclass
class Got:
    """The result of a client: a text, or the exception that it raised."""

    status: int
    text: str = ""
    model: str | None = None
    """x-wirekey-model"""
    raised: Exception | None = None

    @property
    def said(self) -> str:
        return f"{self.raised} {self.text}"


def by_sdk(proxy, model: str, *, stream: bool) -> Got:
    """Over HTTP/1.1, by OpenAI's SDK."""
    context = ssl.create_default_context(cafile=proxy.certs / "bundle.pem")
    transport = httpx.Client(proxy=proxy.proxy_url("h1", proxy.tokens["h1"]), verify=context, timeout=60)
    with openai.OpenAI(api_key="placeholder", max_retries=0, http_client=transport) as sdk:
        found = Got(0)
        try:
            raw = sdk.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, stream=stream)
            found.status, found.model = raw.status_code, raw.headers.get("x-wirekey-model")
            answer = raw.parse()
            if stream:
                found.text = "".join(event.choices[0].delta.content or "" for event in answer if event.choices)
            else:
                found.text = answer.choices[0].message.content
        except openai.APIError as error:
            found.raised = error
            found.status = found.status or getattr(error, "status_code", 200)
        return found


def by_http2(proxy, model: str, *, stream: bool) -> Got:
    """Over HTTP/2, raw."""
    way = RawWay(proxy.root, proxy=proxy.proxy_url("h2", proxy.tokens["h2"]), http2=True)
    body = {"model": model, "messages": MESSAGES, "stream": stream}
    request = way.request("openai", "POST", "/v1/chat/completions", json=body)
    found = Got(200)
    with way.client:
        try:
            response = way.client.send(request, stream=True)
            assert response.http_version == "HTTP/2"
            found.status, found.model = response.status_code, response.headers.get("x-wirekey-model")
            for part in response.iter_text():
                found.text += part
        except httpx.HTTPError as error:
            found.raised = error
    return found


MESSAGES = [{"role": "user", "content": "hello"}]
CLIENTS = {"h1": by_sdk, "h2": by_http2}
CASES = [(client, stream) for client in CLIENTS for stream in (False, True)]


def in_all_ways(proxy, fault: Fault, plan: str) -> list[tuple[str, bool, Got, dict]]:
    """Make the same call plain and streamed with both clients at once. Return each with its result and its event."""
    began = now()

    def ask(case):
        client, stream = case
        return CLIENTS[client](proxy, f"{plan}-{fault.stream if stream else fault.plain}", stream=stream)

    with ThreadPoolExecutor(len(CASES)) as pool:
        answers = list(pool.map(ask, CASES))
    events = proxy.finished_events(len(CASES), began)
    assert len(events) == len(CASES)
    by_case = {(event["agent_id"], bool(event["stream"])): event for event in events}
    return [(*case, got, by_case[case]) for case, got in zip(CASES, answers, strict=True)]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_without_an_alternative_reaches_the_client(name, proxy, simulator):
    fault, sent = FAULTS[name], 0
    simulator.forget()
    for client, stream, got, event in in_all_ways(proxy, fault, "alone"):
        case = (client, stream, got, event)
        assert got.status == fault.status, case
        assert fault.words in got.said, case
        if client == "h1":
            assert isinstance(got.raised, fault.raised), case
        elif not fault.is_before_the_answer:
            # A stream that took too long ends with an error of the provider's; all else breaks off.
            assert bool(got.raised) != (stream and IDLE in got.said), case
        else:
            assert json.loads(got.text)["error"]["message"], case
        assert (event["outcome"], event["status"]) == (fault.outcome, fault.status), case
        assert event["attempts"] - 1 in resends(name, client), case
        assert event["credential"], case
        sent += event["attempts"]
    assert len(simulator.seen) == (0 if fault.plain in OUTSIDE else sent)


@pytest.mark.parametrize("name", FAULTS)
def test_only_a_fault_before_the_response_sends_the_call_to_the_fallback(name, proxy, simulator):
    fault, sent = FAULTS[name], 0
    simulator.forget()
    for client, stream, got, event in in_all_ways(proxy, fault, "again"):
        case = (client, stream, got, event)
        assert got.status == 200, case
        if fault.is_before_the_answer:
            assert not got.raised, case
            assert got.text, case
            assert got.model == event["model"] == SECOND_MODEL, case
            assert (event["outcome"], event["status"]) == ("completed", 200), case
            assert event["attempts"] - 2 in resends(name, client), case
            assert (event["credential"], event["route"]) == ("openai/1", LAST_ROUTE), case
            assert (event["policy_result"], event["policy_reason"]) == ("allow", None), case
        else:
            assert (event["outcome"], event["attempts"], got.model) == (fault.outcome, 1, None), case
        sent += event["attempts"]
    assert len(simulator.seen) == sent - (len(CASES) if fault.plain in OUTSIDE else 0)


def resends(name, client):
    """Return how often more a call may be sent: one whose reused connection has ended goes out on a new one.

    HTTP/2 connections are not pooled.
    """
    return (0, 1) if name == "reset before headers" and client == "h1" else (0,)


BY_SCRIPT = {
    "no headers": "stall-after=0",
    "429": "fail=429",
    "503": "fail=503",
    "reset before headers": "reset-after=0",
}


@pytest.mark.parametrize("name", BY_SCRIPT)
def test_a_fault_before_the_response_retries_with_the_second_key(name, proxy, simulator):
    for client, stream in (("h1", False), ("h2", True)):
        simulator.forget()
        simulator.simulator.script.add(BY_SCRIPT[name])
        began = now()
        got = CLIENTS[client](proxy, f"key-{SECOND_MODEL}", stream=stream)
        event = proxy.finished_event(began)
        case = (client, stream, got, event)
        assert (got.status, got.raised, got.model) == (200, None, None), case
        assert got.text, case
        assert (event["outcome"], event["status"], event["attempts"]) == ("completed", 200, 2), case
        assert event["credential"].startswith(event["route"]), case
        assert len(simulator.seen) == 2
        first, second = (seen.body for seen in simulator.seen)
        assert first == second


@pytest.mark.parametrize("plan", ["alone", "again"])
@pytest.mark.parametrize(("model", "arrived"), [("blackhole", 0), ("tls-stall", 0), ("sim-stall-0", 1)])
def test_no_other_attempt_is_made_for_a_client_that_has_left(model, arrived, plan, proxy, simulator):
    simulator.forget()
    began = now()
    with tunnel(proxy, proxy.tokens["h1"], agent="h1") as client:
        client.send(chat(f"{plan}-{model}"))
        wait_for(lambda: [event for event in proxy.events() if event["id"] > began], "the call to be recorded")
        time.sleep(0.2)
    event = proxy.finished_event(began)
    assert (event["outcome"], event["attempts"], event["route"] != LAST_ROUTE) == ("client_cancelled", 1, True)
    assert (event["status"], event["policy_reason"], event["model"]) == (None, None, f"{plan}-{model}")
    assert event["duration_ms"] < LIMIT * 1000
    time.sleep(0.2)
    assert len(simulator.seen) == arrived


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows the descriptors of a process")
def test_no_descriptor_is_left_after_all_calls(proxy, simulator):
    in_all_ways(proxy, FAULTS["429"], "alone")
    before = wait_for(lambda: descriptors_at_rest(proxy, simulator), "all connections to be closed")

    def ask(case) -> None:
        name, client, stream = case
        CLIENTS[client](proxy, f"again-{FAULTS[name].stream if stream else FAULTS[name].plain}", stream=stream)

    cases = [(name, *case) for name in FAULTS for case in CASES]
    with ThreadPoolExecutor(len(cases)) as pool:
        list(pool.map(ask, cases))
    wait_for(lambda: descriptors_at_rest(proxy, simulator) == before, f"{before} descriptors again")


def descriptors_at_rest(proxy, simulator) -> int | None:
    """Return the number of open descriptors, or None while it changes or the upstream has a connection.

    The provider closes idle connections here. Wirekey would do so itself after half a minute.
    """
    simulator.do(close_connections(simulator.simulator))
    folder = Path(f"/proc/{proxy.process.pid}/fd")
    count = len(list(folder.iterdir()))
    time.sleep(0.2)
    return None if simulator.simulator._connections or len(list(folder.iterdir())) != count else count


async def close_connections(simulator) -> None:
    for connection in list(simulator._connections):
        connection.abort()
