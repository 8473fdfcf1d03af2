"""A stream ends when its budget is reached: with the exception of its SDK, a closed upstream, and a bounded cost."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import anthropic
import botocore.exceptions
import httpx
import openai
import pytest
from google.genai import errors

from tests.deliveries.paths import DELIVERIES
from tests.end_to_end.conftest import fresh  # noqa: F401  # a fixture
from tests.features.quotas.test_end_to_end import CHAT, URL, Program
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, Wirekey, behind, wait_for
from tests.support.sdk_calls import CLAUDE, anthropic_client, bedrock_client, gemini_client, openai_client
from tests.support.stream_formats import trust
from wirekey.features.quotas.expected_output import START
from wirekey.features.quotas.stream_meter import STEP

LONG = "size=60KiB, events=120, pace=0.02"
PROMPT = [{"role": "user", "content": "Write a long story."}]
A_CENT = 0.01
QUOTAS = [
    {"name": "tiny", "per": "agent", "match": {"role": "tiny"}, "usd_per_day": 0.0001, "reserve": "expected"},
    {"name": "cent", "per": "role", "match": {"role": "crowd*"}, "usd_per_day": A_CENT, "reserve": "expected"},
    {"name": "roomy", "per": "agent", "match": {"role": "roomy"}, "usd_per_day": 50, "reserve": "expected"},
]
PER_TOKEN = 0.6e-6
"""Dollars for a token of output of gpt-4o-mini."""
ROUTES = [
    {"match": "claude-haiku-4-5", "model": "openai:gpt-4o-mini"},
    {"match": "gpt-4.1-nano", "model": "anthropic:claude-haiku-4-5"},
]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    configuration = behind(simulator, quotas=QUOTAS, routes=ROUTES)
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), configuration, environ=KEY_ENVIRONMENT)
    yield running
    running.stop()


def chat(way, _):
    return list(openai_client(way).chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True))


def chat_of_anthropic(way, _):
    return list(openai_client(way).chat.completions.create(model="gpt-4.1-nano", messages=PROMPT, stream=True))


def response(way, _):
    return list(openai_client(way).responses.create(model="gpt-4o-mini", input="Write.", stream=True))


def message(way, _, model="claude-sonnet-4-5"):
    with anthropic_client(way).messages.stream(model=model, max_tokens=20_000, messages=PROMPT) as stream:
        return list(stream.text_stream)


def message_of_openai(way, _):
    return message(way, _, "claude-haiku-4-5")


def generate(way, _):
    client = gemini_client(way)
    return list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="Write."))


def converse(way, monkeypatch):
    messages = [{"role": "user", "content": [{"text": "Write."}]}]
    found = bedrock_client(way, monkeypatch).converse_stream(modelId="us.amazon.nova-lite-v1:0", messages=messages)
    return list(found["stream"])


def invoke(way, monkeypatch):
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 8000, "messages": PROMPT}
    client = bedrock_client(way, monkeypatch)
    return list(client.invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(body))["body"])


SDKS = {
    "openai chat": (chat, openai.APIError, "insufficient_quota"),
    "openai responses": (response, openai.APIError, "insufficient_quota"),
    "anthropic": (message, anthropic.APIStatusError, "rate_limit_error"),
    "google-genai": (generate, errors.ClientError, "RESOURCE_EXHAUSTED"),
    "boto3 converse": (converse, botocore.exceptions.EventStreamError, "throttlingException"),
    "boto3 invoke": (invoke, botocore.exceptions.EventStreamError, "throttlingException"),
    "openai, translated": (chat_of_anthropic, openai.APIError, "insufficient_quota"),
    "anthropic, translated": (message_of_openai, anthropic.APIStatusError, "rate_limit_error"),
}


def word_of(error: Exception) -> object:
    """The word by which a program distinguishes the error from others."""
    if isinstance(error, botocore.exceptions.EventStreamError):
        return error.response["Error"]["Code"]
    if isinstance(error, anthropic.APIStatusError):
        return error.body["error"]["type"]
    return error.status if isinstance(error, errors.ClientError) else error.code


@pytest.mark.parametrize("delivery", ["", "split=700"], ids=["events", "cut anywhere"])
@pytest.mark.parametrize("name", SDKS)
def test_the_sdk_raises_its_exception_when_the_budget_is_reached(name, delivery, proxy, simulator, monkeypatch):
    call, raised, word = SDKS[name]
    program = Program(proxy, "tiny")
    program.use(monkeypatch)
    simulator.simulator.script.add(f"{LONG}, {delivery}" if delivery else LONG)
    with pytest.raises(raised, match="The quota tiny is used up, or reserved by open calls") as caught:
        call(program.way, monkeypatch)
    assert word_of(caught.value) == word
    (event,) = program.events(1)
    assert (event["outcome"], event["policy_reason"], event["status"]) == ("interrupted", "insufficient_quota", 200)
    assert event["response_bytes"] < 60_000, "the provider stops"
    wait_for(program.spent, "the ledger")


def end_of(body: bytes) -> tuple[list[dict], dict | None]:
    """Return the chunks of a stream, all of which are valid, and its error."""
    events = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: {")]
    ended = events[-1].get("error")
    return (events[:-1], ended) if ended else (events, None)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_stream_ends_after_a_whole_event_however_it_arrives(delivery, proxy):
    program = Program(proxy, "tiny")
    directives = ", ".join(filter(None, ("size=20KiB, events=40", DELIVERIES[delivery])))
    body = {"stream": True, "max_tokens": 16_000}
    chunks, error = end_of(program.post(directives, **body).content)
    (event,) = program.events(1)
    if error is None:  # all of it came at once, and was paid for
        assert event["outcome"] == "completed"
        return
    assert error["code"] == "insufficient_quota"
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert len(text) >= 3 * START - 600
    assert (event["outcome"], event["policy_reason"]) == ("interrupted", "insufficient_quota")


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("behaviour", ["gzip", "crlf", "comments, tight"])
def test_the_stream_ends_in_both_protocols_and_if_it_is_compressed(http2, behaviour, proxy):
    program = Program(proxy, "tiny")
    with httpx.Client(
        http1=not http2,
        http2=http2,
        proxy=proxy.proxy_url(program.agent, program.token),
        verify=trust(proxy.root, http2=http2),
        timeout=PATIENCE,
        trust_env=False,
    ) as client:
        found = client.post(
            URL,
            json=CHAT | {"stream": True, "max_tokens": 16_000},
            headers={"x-simulator": f"{LONG}, {behaviour}", "accept-encoding": "gzip"},
        )
    assert found.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    text = found.text.replace("\r\n", "\n").replace("data:{", "data: {")
    assert end_of(text.encode())[1]["code"] == "insufficient_quota"
    assert program.events(1)[0]["outcome"] == "interrupted"


@pytest.mark.parametrize("split", ["", ", split=333"])
def test_an_array_of_gemini_ends_as_valid_json(split, proxy):
    program = Program(proxy, "tiny")
    host = "https://generativelanguage.googleapis.com"
    with program.client() as client:
        found = client.post(
            f"{host}/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            json={"contents": [{"role": "user", "parts": [{"text": "Write."}]}]},
            headers={"x-simulator": LONG + split},
        )
    *parts, ended = found.json()
    assert len(parts) > 1
    assert ended["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert program.events(1)[0]["outcome"] == "interrupted"


def test_a_connection_serves_the_next_call_after_an_ended_stream(proxy):
    program = Program(proxy, "tiny")
    with program.client() as client:
        body = CHAT | {"stream": True, "max_tokens": 16_000}
        ended = client.post(URL, json=body, headers={"x-simulator": LONG})
        refused = client.post(URL, json=body)
    assert b"insufficient_quota" in ended.content
    assert refused.status_code == 429
    assert refused.json()["error"]["message"].startswith("The quota tiny is used up")


def test_a_stream_within_its_budget_passes_and_costs_what_its_usage_says(proxy):
    program = Program(proxy, "roomy")
    found = program.post("size=60KiB, events=100, tokens=15000", stream=True, max_tokens=16_000)
    assert b"[DONE]" in found.content
    (event,) = program.events(1)
    assert event["outcome"] == "completed"
    wait_for(lambda: program.spent() == pytest.approx(event["cost_usd"], abs=2e-9), "the ledger")


def test_many_streams_at_once_spend_at_most_the_limit_and_one_step_each(proxy):
    programs = [Program(proxy, "crowd") for _ in range(16)]

    def write(program: Program) -> bytes:
        return program.post("size=120KiB, events=240, pace=0.01", stream=True, max_tokens=16_000).content

    with ThreadPoolExecutor(len(programs)) as pool:
        bodies = list(pool.map(write, programs))
    assert all(b"insufficient_quota" in body or b"rate_limit_exceeded" in body for body in bodies)
    began = [end_of(body)[0] for body in bodies if body.startswith(b"data")]
    texts = [
        "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
        for chunks in began
    ]
    assert all(len(text) > 3 * START * 0.8 for text in texts), "none ends before its own reservation is used up"
    spent = sum(map(len, texts)) / 3 * PER_TOKEN
    assert spent < A_CENT + len(programs) * STEP * PER_TOKEN
