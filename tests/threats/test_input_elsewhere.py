"""R42: input that a request refers to, of which the client leaves before its tokens are counted."""

from __future__ import annotations

import contextlib
import itertools
import ssl
from dataclasses import dataclass

import anthropic
import boto3
import botocore.config
import httpx
import openai
import pytest
from google import genai
from google.genai import types

from tests.support.own_simulator import simulator
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, Wirekey, behind, wait_for
from wirekey.features.quotas.ledger import totals_in

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
QUOTAS = [{"name": "spent", "per": "agent", "usd_per_day": 1000}]
URL = "https://example.com/long.pdf"
IMPATIENT = 1.0
LEFT = (httpx.TimeoutException, openai.APITimeoutError, anthropic.APITimeoutError)
OUTPUT = 50
MINI, SONNET = "gpt-4o-mini", "claude-sonnet-4-5"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    settings = behind(simulator, quotas=QUOTAS, listen=LISTEN)
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), settings, environ=KEY_ENVIRONMENT)
    yield running
    running.stop()


@dataclass
class Program:
    """A program with an agent of its own, which calls in one of the modes, over one of the protocols."""

    proxy: Wirekey
    agent: str
    token: str
    mode: str
    http2: bool

    def client_options(self) -> dict:
        trusted = ssl.create_default_context(cafile=self.proxy.root)
        by_proxy = {"proxy": self.proxy.proxy_url(self.agent, self.token)} if self.mode == "proxy" else {}
        return {"verify": trusted, "http2": self.http2, "trust_env": False, "timeout": PATIENCE, **by_proxy}

    def client(self, timeout: float) -> httpx.Client:
        return httpx.Client(**self.client_options() | {"timeout": timeout})

    def base(self, path: str = "") -> str | None:
        scheme = "https" if self.http2 else "http"
        return f"{scheme}://{self.proxy.running.gateway}{path}" if self.mode == "gateway" else None

    def spent(self) -> float:
        """What the ledger has, in dollars."""
        totals = totals_in(self.proxy.state / "quotas.db")
        return sum(total.amount for key, total in totals.items() if key.endswith(f":{self.agent}")) / 1e9

    def ended(self, number: int) -> list[dict]:
        """The events of its calls, once so many have ended."""

        def found():
            events = [event for event in self.proxy.events() if event["agent_id"] == self.agent and event["outcome"]]
            return events if len(events) >= number else None

        return wait_for(found, f"{number} calls to end")

    def settled(self, least: float) -> float:
        wait_for(lambda: self.spent() >= least, f"${least} to be spent, and not {self.spent()}")
        return self.spent()


@pytest.fixture(params=["proxy-h1", "proxy-h2", "gateway-h1", "gateway-h2"])
def program(request, proxy) -> Program:
    mode, protocol = request.param.split("-")
    agent = f"agent-{next(numbers)}"
    return Program(proxy, agent, proxy.add_agent(agent), mode, protocol == "h2")


# Each SDK, with a request that refers to something. They yield the events of a stream, and disconnect when closed.


@contextlib.contextmanager
def openai_sdk(program, timeout=PATIENCE):
    with program.client(timeout) as client:
        yield openai.OpenAI(api_key=program.token, base_url=program.base("/v1"), max_retries=0, http_client=client)


def openai_chat(program, timeout):
    content = [{"type": "text", "text": "Describe."}, {"type": "image_url", "image_url": {"url": URL}}]
    messages = [{"role": "user", "content": content}]
    with openai_sdk(program, timeout) as sdk:
        yield from sdk.chat.completions.create(model=MINI, max_tokens=OUTPUT, messages=messages, stream=True)


def openai_response(program, timeout, **more):
    given = [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]
    with openai_sdk(program, timeout) as sdk:
        yield from sdk.responses.create(model=MINI, max_output_tokens=OUTPUT, input=given, stream=True, **more)


def openai_background(program, timeout):
    yield from openai_response(program, timeout, background=True)


def anthropic_message(program, timeout):
    content = [{"type": "document", "source": {"type": "url", "url": URL}}]
    messages = [{"role": "user", "content": content}]
    with anthropic.DefaultHttpxClient(**program.client_options() | {"timeout": timeout}) as client:
        sdk = anthropic.Anthropic(api_key=program.token, base_url=program.base(), max_retries=0, http_client=client)
        yield from sdk.messages.create(model=SONNET, max_tokens=OUTPUT, messages=messages, stream=True)


def gemini_content(program, timeout):
    with program.client(timeout) as client:
        options = types.HttpOptions(base_url=program.base(), httpx_client=client, timeout=int(timeout * 1000))
        sdk = genai.Client(api_key=program.token, http_options=options)
        yield from sdk.models.generate_content_stream(
            model="gemini-2.5-flash",
            contents=[types.Part.from_uri(file_uri=URL, mime_type="application/pdf")],
            config=types.GenerateContentConfig(max_output_tokens=OUTPUT),
        )


CALLS = {
    "openai-chat": (openai_chat, 128_000 * 0.15e-6, 0, 2),
    "openai-response": (openai_response, 128_000 * 0.15e-6, 1, 1),
    "openai-background": (openai_background, 128_000 * 0.15e-6, 1, 1),
    "anthropic-message": (anthropic_message, 1_000_000 * 3e-6, 2, 2),
    "gemini-content": (gemini_content, 1_048_576 * 0.3e-6, 1, 1),
}
"""The call, its model's window at the price of input, and how many of its last events, from the token counts on, its
program gets and the provider sends."""


def leave_after(program, simulator, call, events, behaviour) -> None:
    """Make a call, read so many of its events, and leave."""
    simulator.simulator.script.clear()
    simulator.simulator.script.add(behaviour)
    stream = call(program, PATIENCE if events else IMPATIENT)
    with contextlib.nullcontext() if events else pytest.raises(LEFT):
        for _ in range(max(events, 1)):
            next(stream)
    stream.close()


@pytest.mark.parametrize("name", CALLS)
def test_R42_a_client_that_leaves_is_charged_its_reservation(name, program, simulator):
    call, window, received_last, sent_last = CALLS[name]
    simulator.simulator.script.clear()
    simulator.simulator.script.add("events=4")
    whole = len(list(call(program, PATIENCE)))
    (event,) = program.ended(1)
    assert 0 < event["cost_usd"] < window / 100, "a whole response is charged what it cost"
    spent = program.settled(event["cost_usd"] * 0.999)
    assert spent == pytest.approx(event["cost_usd"], abs=2e-9)
    moments = {
        "before the first byte": (0, "stall-after=0"),
        "after the first event": (1, "events=4, stall-after=2"),
        "before the usage event": (
            whole - received_last,
            f"events=4, stall-after={simulator.seen[-1].events - sent_last}",
        ),
    }
    for number, (moment, (events, behaviour)) in enumerate(moments.items(), 2):
        leave_after(program, simulator, call, events, behaviour)
        left = program.ended(number)[-1]
        # A chat has come to its end before it is counted.
        assert left["outcome"] in ("client_cancelled", "completed"), moment
        assert left["cost_usd"] is None or left["cost_usd"] < window / 100, moment
        before, spent = spent, program.settled(spent + window)
        assert spent - before < window * 4, moment


def test_R42_boto3_that_leaves_is_charged_its_reservation(proxy, simulator, monkeypatch):
    agent = f"agent-{next(numbers)}"
    program = Program(proxy, agent, proxy.add_agent(agent), "proxy", http2=False)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", program.token)
    monkeypatch.setenv("HTTPS_PROXY", proxy.proxy_url(agent, program.token))
    config = botocore.config.Config(retries={"total_max_attempts": 1})
    client = boto3.client("bedrock-runtime", region_name="us-east-1", verify=str(proxy.root), config=config)
    place = {"s3Location": {"uri": "s3://bucket/key.mp4"}}
    asked = {
        "modelId": "us.amazon.nova-lite-v1:0",
        "messages": [{"role": "user", "content": [{"video": {"format": "mp4", "source": place}}]}],
        "inferenceConfig": {"maxTokens": OUTPUT},
    }
    simulator.simulator.script.clear()
    simulator.simulator.script.add("events=4")
    whole = list(client.converse_stream(**asked)["stream"])
    spent = program.settled(program.ended(1)[0]["cost_usd"] * 0.999)
    for number, events in enumerate((1, len(whole) - 1), 2):
        simulator.simulator.script.add(f"events=4, stall-after={max(events, 2)}")
        stream = client.converse_stream(**asked)["stream"]
        for _ in range(events):
            next(iter(stream))
        stream.close()
        assert program.ended(number)[-1]["outcome"] in ("client_cancelled", "completed")
        spent = program.settled(spent + 300_000 * 0.06e-6)


def test_R42_a_response_in_the_background_is_charged_its_reservation_even_if_nobody_reads_it(program):
    asked = {"model": MINI, "max_output_tokens": OUTPUT}
    with openai_sdk(program) as sdk:
        first = sdk.responses.create(**asked, input="Hello.")
        spent = program.settled(program.ended(1)[0]["cost_usd"] * 0.999)
        begun = sdk.responses.create(**asked, input="Go on.", previous_response_id=first.id, background=True)
        assert begun.status == "queued"
        program.settled(spent + 128_000 * 0.15e-6)
        assert sdk.responses.retrieve(begun.id).status == "completed"


def test_R42_a_limit_of_no_tokens_reserves_what_the_model_can_write(program, simulator):
    simulator.simulator.script.clear()
    simulator.simulator.script.add("stall-after=0")
    messages = [{"role": "user", "content": "Hello."}]
    with openai_sdk(program, IMPATIENT) as sdk, pytest.raises(openai.APITimeoutError):
        sdk.chat.completions.create(model=MINI, max_tokens=0, messages=messages)
    program.settled(16_384 * 0.6e-6)
