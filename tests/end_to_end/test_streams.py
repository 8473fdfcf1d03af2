"""Streams of every format: the client gets the same as direct, without delay, and the audit has the outcome."""

from __future__ import annotations

import json
from dataclasses import dataclass

import httpx
import pytest

from tests.deliveries.paths import RowAgent, each_delivery, failed_rows, row_agents
from tests.support.running import PROVIDER_KEYS, SimulatorThread, Wirekey, wait_for, wirekey_behind
from tests.support.sdk_calls import Way
from tests.support.stream_formats import FORMATS, PLACEHOLDERS, SDK_STREAMS, Format, RawWay, Received, decoded
from wirekey.core.call import new_call_id

COUNTS = "input-tokens=31, cached-tokens=7, tokens=12"
GZIP = "gzip, split=300"
WHOLE = [
    "",
    "events=40, split=7",
    "unicode, split=1",
    "size=20000, events=5, split=1009",
    "gzip, split=3",
    "br, split=5, unicode",
]
STYLES = ["crlf, split=5", "comments, tight", "tight, crlf, comments, unicode, split=11, gzip"]
CASES = [(name, behaviour) for name in FORMATS for behaviour in WHOLE] + [
    (name, style) for name, wanted in FORMATS.items() if wanted.is_sse for style in STYLES
]


@dataclass
class Stage:
    """The same requests direct to the simulator and through a proxy."""

    simulator: SimulatorThread
    proxy: Wirekey
    direct: RawWay
    behind: RawWay
    began: str = ""

    def same_ids(self) -> None:
        """Restart the simulator's ids, so that two responses to the same request are the same bytes."""
        self.simulator.simulator.state._count = 0

    def both(self, wanted: Format, *words: str) -> tuple[Received, Received]:
        """Return what arrives directly, and what arrives through Wirekey."""
        behaviour = ", ".join(filter(None, words))
        self.same_ids()
        expected = self.direct.stream(wanted, behaviour)
        self.same_ids()
        self.simulator.forget()
        return expected, self.behind.stream(wanted, behaviour)

    def arrived(self):
        (seen,) = self.simulator.seen
        return seen

    def event(self) -> dict:
        return self.proxy.finished_event(self.began)

    def open_gate(self) -> None:
        wait_for(lambda: self.simulator.simulator.gate.waiting, "the stream to wait at the gate")

        async def opened():
            self.simulator.simulator.gate.open()

        self.simulator.do(opened())


def stage_with(simulator: SimulatorThread, proxy: Wirekey) -> Stage:
    behind = RawWay(proxy.root, proxy=proxy.proxy_url("alice", proxy.token))
    return Stage(simulator, proxy, RawWay(simulator.ca_file, simulator.url), behind)


@pytest.fixture(scope="module")
def running_stage(simulator, proxy) -> Stage:
    return stage_with(simulator, proxy)


@pytest.fixture
def stage(running_stage) -> Stage:
    running_stage.began = new_call_id()
    return running_stage


@pytest.fixture(scope="module")
def not_asking(tmp_path_factory, simulator) -> Wirekey:
    """A Wirekey that asks for no usage on the client's behalf."""
    folder = tmp_path_factory.mktemp("not-asking")
    with wirekey_behind(folder, simulator, metering={"include_stream_usage": False}) as running:
        running.token = running.add_agent("alice")
        yield running


def asked_on_its_behalf(name: str) -> bool:
    """Return whether Wirekey asks for the usage event, which it then must remove."""
    return name in ("openai-chat", "openai-completions")


def without_comments(body: bytes) -> bytes:
    """The simulator writes a comment before each event, so also before the one that is taken out again."""
    return body.replace(b": keep-alive\r\n\r\n", b"").replace(b": keep-alive\n\n", b"")


@pytest.mark.parametrize(("name", "behaviour"), CASES)
def test_a_stream_arrives_byte_for_byte_in_any_chunking(name, behaviour, stage):
    wanted = FORMATS[name]
    expected, received = stage.both(wanted, COUNTS, behaviour)
    assert received.status == expected.status == 200
    assert not received.broke_off
    assert received.headers["content-type"] == expected.headers["content-type"]
    if asked_on_its_behalf(name):
        assert without_comments(received.body) == without_comments(expected.body)
    else:
        assert received.raw == expected.raw
        assert received.headers.get("content-encoding") == expected.headers.get("content-encoding")
    event = stage.event()
    assert (event["operation"], event["outcome"], event["status"]) == (wanted.operation, "completed", 200)
    assert bool(event["stream"])
    if name == "gemini-openai":
        assert event["input_tokens"] is None
    else:
        assert event["input_tokens"] == 31, "all input, for every provider"
        assert (event["output_tokens"], event["cached_input_tokens"]) == (12, 7)
        assert event["cost_usd"] > 0
    assert event["finish_reason"]
    assert event["response_bytes"] == len(received.raw) or asked_on_its_behalf(name)
    assert event["response_bytes"] > 0
    assert event["ttfb_ms"] is not None


@pytest.fixture(scope="module")
def whole_streams(simulator) -> dict[str, Received]:
    """What the simulator sends in each format: with the first ids, encoded."""
    direct = RawWay(simulator.ca_file, simulator.url)
    found = {}
    for name, wanted in FORMATS.items():
        simulator.simulator.state._count = 0
        found[name] = direct.stream(wanted, f"{COUNTS}, {GZIP}")
    return found


@each_delivery(0, 3)
def test_a_stream_arrives_byte_for_byte_in_any_delivery(deployment, path, delivery, whole_streams):
    """One stream after the other, as each is compared with one that has the same ids."""
    with row_agents(deployment, path, delivery) as next_agent:
        for name, wanted in FORMATS.items():
            agent, expected = next_agent(), whole_streams[name]
            request = agent.request(wanted.provider, "POST", wanted.path, f"{COUNTS}, {GZIP}", json=wanted.body)
            deployment.simulator.simulator.state._count = 0
            with agent.client.stream(**request) as response:
                received = Received(response.status_code, response.headers, b"".join(response.iter_raw()))
            assert received.status == 200, name
            if asked_on_its_behalf(name):
                assert received.body == expected.body, name
            elif name == "bedrock-invoke" and "early" in delivery:
                # Its ids depend on how much of the request had arrived.
                assert len(received.body) == len(expected.body)
            else:
                assert received.raw == expected.raw, name
            (event,) = agent.events(1)
            assert (event["operation"], event["outcome"], event["attempts"]) == (wanted.operation, "completed", 1), name
            assert (event["output_tokens"] == 12) == (name != "gemini-openai"), name
            assert agent.arrived()[0].protocol == path.upstream


@pytest.mark.parametrize("name", ["openai-chat", "openai-completions"])
def test_usage_requested_by_wirekey_is_hidden_from_the_client(name, stage):
    received = stage.behind.stream(FORMATS[name])
    assert json.loads(stage.arrived().body)["stream_options"] == {"include_usage": True}
    assert b"usage" not in received.body


def test_usage_requested_by_the_client_is_kept(stage):
    received = stage.behind.stream(FORMATS["openai-chat-with-usage"])
    assert json.loads(stage.arrived().body) == FORMATS["openai-chat-with-usage"].body
    assert received.body.count(b'"total_tokens"') == 1


@pytest.mark.parametrize("name", FORMATS)
def test_the_request_is_unchanged_if_usage_is_not_requested(name, simulator, not_asking):
    wanted, stage = FORMATS[name], stage_with(simulator, not_asking)
    stage.began = new_call_id()
    expected, received = stage.both(wanted, "gzip")
    assert received.raw == expected.raw
    assert json.loads(stage.arrived().body) == wanted.body
    event = stage.event()
    assert event["outcome"] == "completed"
    unknown = name in ("openai-chat", "openai-completions", "gemini-openai")
    for field in ("input_tokens", "output_tokens", "cost_usd"):
        assert (event[field] is None) == unknown, field


# Timeliness: the provider waits at the gate before its second event, until the test has seen the first one.


@pytest.mark.parametrize("encoding", ["", ", gzip", ", br"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_client_has_the_first_event_before_the_provider_sends_the_second(name, encoding, stage):
    wanted = FORMATS[name]
    response = stage.behind.open(wanted, f"gate{encoding}")
    chunks = decoded(response.iter_raw(), response.headers)
    got = b""
    while not wanted.first_event(got):
        got += next(chunks)
    assert stage.arrived().events == 1
    assert stage.arrived().outcome is None
    stage.open_gate()
    got += b"".join(chunks)
    assert len(got) > wanted.first_event(got)
    response.close()


@pytest.mark.parametrize("name", SDK_STREAMS)
def test_an_sdk_gives_its_program_the_first_event_before_the_provider_sends_the_second(
    name, stage, through, monkeypatch
):
    stage.simulator.simulator.script.add("gate")
    stream = iter(SDK_STREAMS[name](Way(through.certs / "bundle.pem", PLACEHOLDERS), monkeypatch))
    assert next(stream)
    assert stage.arrived().events == 1
    stage.open_gate()
    assert list(stream)


@pytest.mark.parametrize("name", SDK_STREAMS)
def test_an_error_inside_a_stream_raises_the_same_as_direct(name, stage, through, monkeypatch):
    def taken(way) -> list:
        """Return the events, and the exception after them, if any: OpenAI's Responses API has an event for it."""
        stage.same_ids()
        stage.simulator.simulator.script.add("error-after=3")
        found = []
        try:
            found.extend(str(event) for event in SDK_STREAMS[name](way, monkeypatch))
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
        return found

    with monkeypatch.context() as direct:
        direct.delenv("HTTPS_PROXY")
        expected = taken(Way(stage.simulator.ca_file, PROVIDER_KEYS, stage.simulator.url))
    assert "rror" in expected[-1]
    assert taken(Way(through.certs / "bundle.pem", PLACEHOLDERS)) == expected
    assert stage.proxy.finished_events(1, stage.began)[-1]["outcome"] == "upstream_error"


# Faults of the provider.


@pytest.mark.parametrize("cut", ["", "gzip, split=3"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_malformed_event_passes_unchanged(name, cut, stage):
    """After a frame whose checksum is wrong nothing can be read, by an SDK neither; other formats go on."""
    wanted = FORMATS[name]
    expected, received = stage.both(wanted, "garble-after=2", cut)
    assert received.body == expected.body
    assert not received.broke_off
    assert stage.event()["outcome"] == ("truncated" if wanted.provider == "bedrock" else "completed")


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_without_its_last_event_passes_unchanged(name, stage):
    wanted = FORMATS[name]
    expected, received = stage.both(wanted, "no-done")
    assert received.body == expected.body
    assert not received.broke_off
    assert stage.event()["outcome"] == wanted.without_its_last_event


@pytest.mark.parametrize("cut", ["", "gzip, split=3"])
@pytest.mark.parametrize("name", FORMATS)
def test_an_error_inside_a_stream_reaches_the_client_and_the_audit(name, cut, stage):
    wanted = FORMATS[name]
    expected, received = stage.both(wanted, "error-after=3", cut)
    assert received.body == expected.body
    assert not received.broke_off
    event = stage.event()
    assert (event["outcome"], event["status"]) == ("upstream_error", 200)
    assert event["policy_reason"]


@pytest.mark.parametrize("fault", ["reset", "truncate"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_that_breaks_off_also_breaks_off_for_the_client(name, fault, stage):
    """Data in flight may be lost when the connection breaks, also without Wirekey. The first event must arrive."""
    wanted = FORMATS[name]
    stage.same_ids()
    whole = stage.direct.stream(wanted).body
    stage.same_ids()
    stage.simulator.forget()
    received = stage.behind.stream(wanted, f"gate, {fault}-after=2", at_first_event=stage.open_gate)
    assert received.broke_off
    assert whole.startswith(received.body)
    assert wanted.first_event(received.body)
    event = stage.event()
    assert (event["outcome"], event["status"]) == ("upstream_reset", 200)
    assert event["response_bytes"] >= len(received.body)


@each_delivery(1)
def test_a_stream_that_breaks_off_in_any_delivery_also_breaks_off_for_the_client(deployment, path, delivery):
    rows = {f"{name}, {fault}": (wanted, fault) for name, wanted in FORMATS.items() for fault in ("reset", "truncate")}

    def check(agent: RowAgent, row: tuple[Format, str]) -> None:
        wanted, fault = row
        request = agent.request(wanted.provider, "POST", wanted.path, f"{fault}-after=2", json=wanted.body)
        with pytest.raises(httpx.HTTPError):
            agent.client.request(**request)
        (event,) = agent.events(1)
        assert (event["outcome"], event["status"], event["attempts"]) == ("upstream_reset", 200, 1), event

    assert failed_rows(deployment, path, delivery, rows, check) == []


@each_delivery(2, 5)
def test_a_disconnected_client_ends_the_providers_stream_in_any_delivery(deployment, path, delivery):
    def check(agent: RowAgent, wanted: Format) -> None:
        request = agent.request(wanted.provider, "POST", wanted.path, "events=100000, pace=0.01", json=wanted.body)
        # A client of its own: over HTTP/2, httpx does not reset a stream that it no longer reads.
        with deployment.client(path, agent.agent) as client, client.stream(**request) as response:
            next(response.iter_raw())
        (event,) = agent.events(1)
        assert event["outcome"] == "client_cancelled", event
        (arrived,) = agent.arrived()
        wait_for(lambda: arrived.outcome == "client_gone", "the provider to see that the client is gone")

    assert failed_rows(deployment, path, delivery, FORMATS, check) == []
