"""Programs with the SDK of one provider, answered by models of another. Only the routes of Wirekey say so."""

from __future__ import annotations

import base64
import hashlib
import json
import random

import anthropic
import boto3
import botocore.exceptions
import httpx
import httpx2
import openai
import pytest
import urllib3
from botocore.config import Config
from google import genai
from google.genai import errors as genai_errors

from tests.support.own_simulator import simulator
from tests.support.running import wirekey_behind
from tests.threats.conftest import beginning
from wirekey.core.body import SPOOL_ABOVE
from wirekey.core.calls.attempt_rewrite import AT_ONCE
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.neutral import ModelMaker, Reasoning
from wirekey.features.translation.own_format import without_signed_state
from wirekey.features.translation.requests import translate_request
from wirekey.features.translation.state import StateReader
from wirekey_simulator.text import TEXT

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
MODELS = {
    "openai": "gpt-4o-mini",
    "chat": "gpt-4o-mini",
    "gemini": "gemini-2.5-flash",
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
"""Names of upstreams in the models that programs ask for, and the models that are sent there."""
PROVIDERS = {**{name: name for name in MODELS}, "chat": "openai"}
DELIVERIES = ["sim-at-once", "sim-bytewise", "sim-pauses", "sim-close", "sim-hints"]
FAILURES = ["sim-fail-400", "sim-fail-401", "sim-fail-429", "sim-fail-500", "sim-fail-529"]
BREAKS = ["sim-error-2", "sim-truncate-2"]


def routes():
    found = []
    for name, model in MODELS.items():
        speaks = {"speaks": "openai.chat"} if name == "chat" else {}
        for sent in (model, *DELIVERIES, *FAILURES, *BREAKS):
            asked = f"to-{name}" if sent == model else f"to-{name}-{sent}"
            found.append({"match": asked, "provider": PROVIDERS[name], "model": sent, **speaks})
    for name, (provider, model) in VECTORS.items():
        found.append({"match": f"vectors-{name}", "provider": provider, "model": model})
    found.append({"match": "vectors-own", "provider": "gemini", "model": "gemini-embedding-001", "speaks": "gemini"})
    return found


VECTORS = {
    "openai": ("openai", "text-embedding-3-small"),
    "titan": ("bedrock", "amazon.titan-embed-text-v2:0"),
    "cohere": ("bedrock", "cohere.embed-english-v3"),
}
"""Upstreams that make vectors, and their models."""


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    failover = {"max_attempts": 1}
    limits = {"translated_response": "512KiB"}
    settings = {"listen": LISTEN, "routes": routes(), "failover": failover, "limits": limits}
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, **settings) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def way(wirekey):
    token = wirekey.add_agent("alice")
    return f"http://{wirekey.running.gateway}", token, wirekey.agents.pair("alice")


class Chat:
    """OpenAI's Chat Completions."""

    format = "openai.chat"
    error = (openai.APIError, httpx2.HTTPError)

    def __init__(self, base, token, pair):
        self.client = openai.OpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0)
        self.ask = {"messages": [{"role": "user", "content": "Hi"}]}

    def plain(self, model):
        return self.client.chat.completions.create(model=model, **self.ask).choices[0].message.content

    def streamed(self, model):
        chunks = self.client.chat.completions.create(model=model, stream=True, **self.ask)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


class Responses:
    """OpenAI's Responses."""

    format = "openai.responses"
    error = (openai.APIError, httpx2.HTTPError, RuntimeError)

    def __init__(self, base, token, pair):
        self.client = openai.OpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0)

    def plain(self, model):
        return self.client.responses.create(model=model, input="Hi").output_text

    def streamed(self, model):
        with self.client.responses.stream(model=model, input="Hi") as stream:
            return stream.get_final_response().output_text


class Gemini:
    """Gemini's generateContent."""

    format = "gemini"
    error = (genai_errors.APIError, httpx.HTTPError)

    def __init__(self, base, token, pair):
        self.client = genai.Client(api_key=token, http_options={"base_url": base})

    def plain(self, model):
        return self.client.models.generate_content(model=model, contents="Hi").text

    def streamed(self, model):
        return "".join(
            chunk.text or "" for chunk in self.client.models.generate_content_stream(model=model, contents="Hi")
        )


class Anthropic:
    """Anthropic's Messages."""

    format = "anthropic"
    error = (anthropic.APIError, httpx2.HTTPError)

    def __init__(self, base, token, pair):
        self.client = anthropic.Anthropic(api_key=token, base_url=base, max_retries=0)
        self.ask = {"max_tokens": 500, "messages": [{"role": "user", "content": "Hi"}]}

    def plain(self, model):
        return self.client.messages.create(model=model, **self.ask).content[0].text

    def streamed(self, model):
        with self.client.messages.stream(model=model, **self.ask) as stream:
            return stream.get_final_text()


class Converse:
    """Bedrock's Converse."""

    format = "converse"
    error = (
        botocore.exceptions.ClientError,
        botocore.exceptions.EventStreamError,
        botocore.exceptions.HTTPClientError,
        urllib3.exceptions.HTTPError,
    )

    def __init__(self, base, token, pair):
        session = boto3.Session(aws_access_key_id=pair.access_key, aws_secret_access_key=pair.secret.reveal())
        self.client = session.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=base,
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.ask = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}

    def plain(self, model):
        return self.client.converse(modelId=model, **self.ask)["output"]["message"]["content"][0]["text"]

    def streamed(self, model):
        text = ""
        for event in self.client.converse_stream(modelId=model, **self.ask)["stream"]:
            text += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
        return text


CLIENTS = {client.format: client for client in (Chat, Responses, Gemini, Anthropic, Converse)}
OWN = {
    ("openai.chat", "chat"), ("openai.chat", "openai"), ("openai.chat", "gemini"), ("openai.responses", "openai"),
    ("gemini", "gemini"), ("anthropic", "anthropic"), ("converse", "bedrock"),
}  # fmt: skip
"""Upstreams that answer in the client's own format, so that nothing is translated."""
PAIRS = [(client, upstream) for client in CLIENTS for upstream in MODELS if (client, upstream) not in OWN]
SPOKEN = {"openai": "openai.responses", "chat": "openai.chat", "gemini": "gemini", "anthropic": "anthropic"}


def spoken(client, upstream):
    return "invoke" if (client, upstream) == ("anthropic", "bedrock") else SPOKEN.get(upstream, "converse")


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_an_sdk_gets_the_text_of_a_model_of_another_provider(way, wirekey, client, upstream):
    since = beginning()
    program = CLIENTS[client](*way)
    assert program.plain(f"to-{upstream}") == TEXT
    assert program.streamed(f"to-{upstream}") == TEXT
    for event in wirekey.finished_events(2, since):
        assert event["requested_model"] == f"to-{upstream}"
        assert event["model"] == MODELS[upstream]
        assert event["translation"] == f"{client}>{spoken(client, upstream)}"
        assert (event["status"], event["outcome"]) == (200, "completed")
        assert event["input_tokens"] > 0
        assert event["output_tokens"] > 0
        assert event["cost_usd"] > 0


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_delivery_of_a_response_does_not_matter(way, client, delivery):
    program = CLIENTS[client](*way)
    for upstream in [upstream for own, upstream in PAIRS if own == client]:
        assert program.plain(f"to-{upstream}-{delivery}") == TEXT
        assert program.streamed(f"to-{upstream}-{delivery}") == TEXT


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("client", CLIENTS)
def test_an_error_raises_the_exception_of_the_clients_sdk(way, wirekey, client, failure):
    program = CLIENTS[client](*way)
    for upstream in [upstream for own, upstream in PAIRS if own == client]:
        for call in (program.plain, program.streamed):
            with pytest.raises(program.error):
                call(f"to-{upstream}-{failure}")


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_stream_that_breaks_is_no_success(way, wirekey, client, broken):
    program = CLIENTS[client](*way)
    for upstream in [upstream for own, upstream in PAIRS if own == client]:
        since = beginning()
        with pytest.raises(program.error):
            program.streamed(f"to-{upstream}-{broken}")
        assert wirekey.finished_event(since)["outcome"] in {"upstream_error", "truncated", "upstream_reset"}


def test_the_response_says_what_was_lost(way, wirekey):
    since = beginning()
    client = openai.OpenAI(api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0)
    raw = client.chat.completions.with_raw_response.create(
        model="to-anthropic", messages=[{"role": "user", "content": "Hi"}], temperature=1.7, seed=1, user="somebody"
    )
    assert raw.headers["x-wirekey-translation"] == "openai.chat>anthropic"
    assert raw.headers["x-wirekey-adjusted"] == "max_completion_tokens, temperature"
    assert raw.headers["x-wirekey-dropped"] == "seed, user"
    event = wirekey.finished_event(since)
    assert (event["adjusted"], event["dropped"]) == ("max_completion_tokens, temperature", "seed, user")


def test_rate_limits_and_the_id_of_the_request_have_the_names_of_the_clients_format(way):
    base, token, _ = way
    chat = openai.OpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0).chat.completions.with_raw_response
    asked = {"model": "to-anthropic", "messages": [{"role": "user", "content": "Hi"}]}
    for headers in (chat.create(**asked).headers, chat.create(**asked, stream=True).headers):
        assert headers["x-ratelimit-limit-requests"] == "4000"
        assert headers["x-ratelimit-reset-requests"] == "0ms"
        assert headers["x-request-id"]
        assert not [name for name in headers if name.startswith(("anthropic", "request-id"))]
    messages = anthropic.Anthropic(api_key=token, base_url=base, max_retries=0).messages.with_raw_response
    headers = messages.create(**asked | {"model": "to-openai"}, max_tokens=50).headers
    assert headers["anthropic-ratelimit-requests-limit"] == "4000"
    assert headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert headers["request-id"]
    assert not [name for name in headers if name.startswith(("openai", "x-ratelimit", "x-request-id"))]


def test_a_request_that_cannot_be_translated_is_refused_and_not_sent(way, wirekey, simulator):
    since = beginning()
    simulator.forget()
    client = openai.OpenAI(api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="to-anthropic", messages=[{"role": "user", "content": "Hi"}], n=2)
    assert refused.value.code == "cannot_translate"
    assert refused.value.param == "n"
    assert "n:" in refused.value.message
    assert not simulator.seen
    assert wirekey.finished_event(since)["outcome"] == "denied"


def test_a_client_can_refuse_every_loss(way):
    client = openai.OpenAI(api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0)
    with pytest.raises(openai.BadRequestError, match="seed"):
        client.chat.completions.create(
            model="to-anthropic", messages=[{"role": "user", "content": "Hi"}], seed=1, max_completion_tokens=9,
            extra_headers={"x-wirekey-losses": "refuse"},
        )  # fmt: skip


def test_nothing_of_the_clients_own_headers_reaches_the_upstream(way, simulator):
    simulator.forget()
    client = openai.OpenAI(
        api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0, organization="org-secret", project="proj-secret"
    )
    client.chat.completions.create(model="to-anthropic", messages=[{"role": "user", "content": "Hi"}])
    (seen,) = simulator.seen
    sent = b"\n".join(name + b": " + value for name, value in seen.headers)
    assert b"secret" not in sent
    assert way[1].encode() not in sent


def test_beta_flags_that_bedrock_knows_reach_it_in_the_body(way, wirekey, simulator):
    since = beginning()
    simulator.forget()
    client = anthropic.Anthropic(api_key=way[1], base_url=way[0], max_retries=0)
    flags = "interleaved-thinking-2025-05-14,another-2026-01-01"
    client.messages.create(
        model="to-bedrock", max_tokens=9, messages=[{"role": "user", "content": "Hi"}],
        extra_headers={"anthropic-beta": flags},
    )  # fmt: skip
    (seen,) = simulator.seen
    assert json.loads(seen.body)["anthropic_beta"] == ["interleaved-thinking-2025-05-14"]
    assert b"anthropic-beta" not in {name.lower() for name, _ in seen.headers}
    assert wirekey.finished_event(since)["dropped"] == "anthropic_beta"


def test_signed_state_of_another_model_never_reaches_a_provider_of_the_clients_own_format(way, simulator):
    signed = StateReader(b"another key").signed_id("call_1", [Reasoning("hm", "state", ModelMaker.GEMINI)])
    simulator.forget()
    client = openai.OpenAI(api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0)
    call = {"id": signed, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": signed, "content": "1"},
    ]
    for model in ("gpt-4o-mini", "to-chat", "to-anthropic"):
        client.chat.completions.create(model=model, messages=messages)
    for seen in simulator.seen:
        assert b"wk1" not in seen.body
    assert simulator.seen[0].body == simulator.seen[1].body != b""


def asking_with_image(base, token, model, image):
    client = openai.OpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0)
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    said = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]
    return client.chat.completions.create(model=model, messages=said).choices[0].message.content


@pytest.mark.parametrize("size", [3 * AT_ONCE, SPOOL_ABOVE + 3 * AT_ONCE], ids=["in memory", "in a file"])
def test_a_large_request_is_translated_whole(way, simulator, size):
    base, token, _ = way
    image = base64.b64encode(random.Random(1).randbytes(size)).decode()  # any bytes will do
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    asked = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]}
    for upstream in ("anthropic", "bedrock"):
        simulator.forget()
        assert asking_with_image(base, token, f"to-{upstream}", image) == TEXT
        (seen,) = simulator.seen
        to, body = FORMATS[spoken("openai.chat", upstream)], json.dumps(asked).encode()
        expected = translate_request(FORMATS["openai.chat"], to, MODELS[upstream], body, StateReader(b"")).body
        assert seen.size == len(expected) > size
        assert seen.sha256 == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize("delivery", ["", "sim-pauses", "sim-close"], ids=["as usual", "with pauses", "and a close"])
def test_a_large_response_that_is_translated_in_a_thread_arrives_whole(way, wirekey, delivery):
    text = "word " * (2 * AT_ONCE // 5)
    script = f"simulated-session: {json.dumps([{'text': text}])}"
    for client, model in ((Chat(*way), "to-anthropic"), (Anthropic(*way), "to-gemini")):
        since = beginning()
        client.ask = {**client.ask, "messages": [{"role": "user", "content": script}]}
        assert client.plain(f"{model}-{delivery}" if delivery else model) == text
        event = wirekey.finished_event(since)
        assert (event["outcome"], event["status"]) == ("completed", 200)
        assert event["response_bytes"] > AT_ONCE


def test_a_large_response_is_refused_as_a_whole_and_passes_as_a_stream(way):
    base, token, _ = way
    client = openai.OpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0)
    text = f"{'word' * 25} " * 6_000  # an event for each
    script = f"simulated-session: {json.dumps([{'text': text}])}"
    asked = {"model": "to-anthropic", "messages": [{"role": "user", "content": script}]}
    with pytest.raises(openai.APIStatusError, match=r"limits\.translated_response") as failed:
        client.chat.completions.create(**asked)
    assert (failed.value.status_code, failed.value.code) == (502, "cannot_translate_answer")
    chunks = client.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    *_, last = client.responses.create(model="to-anthropic", input=script, stream=True)
    assert last.type == "response.failed"


def test_a_large_request_that_cannot_be_translated_is_refused(way, simulator):
    base, token, _ = way
    simulator.forget()
    with pytest.raises(openai.BadRequestError, match="it is not base64"):
        asking_with_image(base, token, "to-anthropic", "A" * 2 * AT_ONCE + "!")
    assert not simulator.seen


def test_signed_state_is_cut_from_a_large_request_that_keeps_its_format(way, simulator):
    signed = StateReader(b"another key").signed_id("call_1", [Reasoning("hm", "state", ModelMaker.GEMINI)])
    call = {"id": signed, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for size in (3 * AT_ONCE, SPOOL_ABOVE + 3 * AT_ONCE):
        said = [
            {"role": "user", "content": "word " * (size // 5)},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": signed, "content": "1"},
        ]
        body = json.dumps({"model": "gpt-4o-mini", "messages": said}).encode()
        simulator.forget()
        sent = httpx.post(
            f"{way[0]}/v1/chat/completions",
            content=body,
            headers={"authorization": f"Bearer {way[1]}", "content-type": "application/json"},
            trust_env=False,
        )
        assert sent.status_code == 200
        (seen,) = simulator.seen
        expected = without_signed_state(FORMATS["openai.chat"], body)
        assert b"wk1" not in expected
        assert seen.sha256 == hashlib.sha256(expected).hexdigest()


COUNTS = {
    "openai.responses": lambda program, model: (
        program.client.responses.input_tokens.count(model=model, input="Hi").input_tokens
    ),
    "gemini": lambda program, model: program.client.models.count_tokens(model=model, contents="Hi").total_tokens,
    "anthropic": lambda program, model: (
        program.client.messages.count_tokens(model=model, messages=[{"role": "user", "content": "Hi"}]).input_tokens
    ),
    "converse": lambda program, model: program.client.count_tokens(
        modelId=model, input={"converse": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}}
    )["inputTokens"],
}


@pytest.mark.parametrize("client", COUNTS)
def test_tokens_are_counted_by_the_upstream(way, wirekey, client):
    program = CLIENTS[client](*way)
    for upstream in MODELS:
        if (client, upstream) in OWN or (client, upstream) == ("openai.responses", "chat"):
            continue
        since = beginning()
        assert COUNTS[client](program, f"to-{upstream}") > 0
        event = wirekey.finished_event(since)
        counted_in = {"chat": "openai.responses", "bedrock": "converse"}.get(upstream, spoken(client, upstream))
        assert event["translation"] == f"{client}>{counted_in}"
        assert (event["status"], event["adjusted"], event["dropped"]) == (200, None, None)


@pytest.mark.parametrize("name", ["titan", "cohere", "own"])
def test_vectors_come_from_models_of_other_providers(way, wirekey, name):
    since = beginning()
    client = openai.OpenAI(api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0)
    found = client.embeddings.create(model=f"vectors-{name}", input="Hi").data[0].embedding
    assert len(found) > 1
    assert all(isinstance(number, float) for number in found)
    assert wirekey.finished_event(since)["translation"].startswith("openai.embeddings>")


def test_a_program_of_gemini_gets_vectors_of_openai(way):
    client = genai.Client(api_key=way[1], http_options={"base_url": way[0]})
    found = client.models.embed_content(model="vectors-openai", contents=["Hi", "there"])
    assert [len(one.values) > 1 for one in found.embeddings] == [True, True]


def test_a_provider_that_makes_no_vectors_refuses_them(way):
    client = openai.OpenAI(api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0)
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="to-anthropic", input="Hi")
    assert refused.value.code == "format_not_offered"
