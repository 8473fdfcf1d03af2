"""Each official SDK and the usual HTTP libraries, run by `wirekey exec`: their results and their requests."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest

from tests.clients.calls import CREDENTIALS, LIBRARIES, SDKS, USAGE_WISH, Made, as_sent, named
from tests.support.running import PROVIDER_KEYS, wait_for

CLIENTS = named([*SDKS, *LIBRARIES])
TEXT = "Ein Häschen \N{RABBIT} hüpft."
ACTIONS = ["chat", "stream"]


def without_ids(outcome):
    """Return the response as text, without the provider's counters and, in plain libraries, where it was cut."""
    fields = asdict(outcome)
    if isinstance(fields["value"], list) and all(isinstance(piece, str) for piece in fields["value"]):
        fields["value"] = "".join(fields["value"])
    return re.sub(r"chatcmpl-\w+", "", json.dumps(fields))


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture
def both(stage, made):
    """Make a call direct and through Wirekey, once for all tests that look at it."""

    def make(language: str, client: str, action: str) -> tuple[Made, Made]:
        if (language, client, action) not in made:
            calls = []
            for way in ("direct", "through"):
                stage.simulator.simulator.reset()
                outcome = stage.program(language, way).do(client, action, text=TEXT)
                wait_for(lambda: all(seen.outcome for seen in stage.simulator.seen), "the provider to finish")
                calls.append(Made(outcome, stage.simulator.seen))
            made[language, client, action] = tuple(calls)
        return made[language, client, action]

    return make


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_a_client_gets_the_same_through_wirekey_as_direct(both, language, client, provider, action):
    direct, through = both(language, client, action)
    assert not direct.outcome.failed, direct.outcome
    assert without_ids(through.outcome) == without_ids(direct.outcome)
    assert through.request.provider == provider
    assert through.request.outcome == "completed"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_a_request_arrives_unchanged(both, language, client, provider, action):
    direct, through = both(language, client, action)
    if client == "httpx-http2":
        # httpx names http/1.1 before h2. Servers choose h2 nevertheless; Wirekey takes the client at its word.
        assert (direct.request.protocol, through.request.protocol) == ("h2", "h1")
        assert without_case(through.request) == without_case(direct.request)
    else:
        assert as_sent(through.request) == as_sent(direct.request)


def without_case(seen):
    headers = [(name.lower(), value) for name, value in as_sent(seen)["headers"] if name.lower() != b"host"]
    return [headers, seen.method, seen.target, seen.body.replace(USAGE_WISH, b"")]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_the_one_credential_that_arrives_is_the_providers_key(both, language, client, provider, action):
    _, through = both(language, client, action)
    ((_, value),) = [header for header in through.request.headers if header[0].lower() in CREDENTIALS]
    assert value.removeprefix(b"Bearer ") == PROVIDER_KEYS[provider].encode()
    everything = repr(through.request.headers) + through.request.target
    assert "wk_" not in everything
    assert "wirekey" not in everything.lower()


@pytest.mark.parametrize(("language", "client", "provider"), named(SDKS))
def test_the_call_is_recorded_under_the_agents_name(stage, language, client, provider):
    stage.program(language, "through").do(client, "stream")
    event = stage.proxy.finished_event(stage.began)
    assert (event["agent_id"], event["provider"], event["outcome"]) == ("alice", provider, "completed")
    assert event["input_tokens"] > 0
    assert event["output_tokens"] > 0
    assert event["finish_reason"]


@pytest.mark.parametrize(("language", "client", "provider"), CLIENTS)
def test_a_stream_that_pauses_after_its_first_event_continues_to_its_end(both, stage, language, client, provider):
    _, unpaused = both(language, client, "stream")
    stage.simulator.simulator.reset()
    stage.script("gate")
    program = stage.program(language, "through")
    program.ask(client, "stream", text=TEXT)
    wait_for(lambda: stage.simulator.simulator.gate.waiting, "the first event to be sent")
    stage.simulator.do(open_gate(stage))
    assert without_ids(program.outcome()) == without_ids(unpaused.outcome)


async def open_gate(stage):
    stage.simulator.simulator.gate.open()


def test_header_names_keep_their_case_over_http_1(both):
    _, through = both("python", "requests", "chat")
    assert (b"X-Mixed-CASE", b"as written") in through.request.headers


@pytest.mark.parametrize(
    ("client", "encodings"),
    [("openai", b"br, gzip, deflate"), ("bedrock-http1", None), ("https", None)],
)
def test_no_encoding_is_offered_that_the_client_did_not_offer(both, client, encodings):
    _, through = both("node", client, "chat")
    assert dict(through.request.headers).get(b"accept-encoding") == encodings


def test_both_handlers_of_the_aws_sdk_for_node_use_their_own_protocol(both):
    assert both("node", "bedrock", "chat")[1].request.protocol == "h2"
    assert both("node", "bedrock-http1", "chat")[1].request.protocol == "h1"


def test_a_file_is_uploaded_in_two_requests_of_which_the_second_carries_no_credential(stage):
    wish = {"text": "a file of some words " * 50}
    direct = stage.program("python", "direct").do("gemini-async", "upload", **wish)
    stage.simulator.simulator.reset()
    assert stage.program("python", "through").do("gemini-async", "upload", **wish) == direct
    assert not direct.failed, direct
    begin, send, *_ = stage.simulator.seen
    key = PROVIDER_KEYS["gemini"].encode()
    assert dict(begin.headers)[b"x-goog-api-key"] == key
    assert "upload_id=" in send.target
    assert key not in repr(send.headers).encode()
    assert send.body == wish["text"].encode()
