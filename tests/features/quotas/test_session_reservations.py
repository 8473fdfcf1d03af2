"""What a response of a connection reserves: its session's settings, what was said before, and what these refer to."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.features.quotas.making import usd
from wirekey.core.body import Body
from wirekey.core.call import Call, Outcome
from wirekey.core.calls.service_parts import add_services_of_features
from wirekey.core.calls.services import Services
from wirekey.core.calls.state import CallState
from wirekey.core.metering.cost import cost_usd
from wirekey.core.operation import Facts, Kind, Operation, Usage
from wirekey.core.policy.decision import Decision
from wirekey.feature import FeatureValues
from wirekey.features.quotas.configured import ConfiguredQuotas
from wirekey.features.quotas.definition import Quota
from wirekey.features.quotas.hold import CallQuotas, Hold
from wirekey.features.realtime.gemini import GeminiLive
from wirekey.features.realtime.http_conversations import HttpConversations
from wirekey.features.realtime.openai import OpenAiRealtime
from wirekey.features.realtime.openai_responses import OpenAiResponsesMessages
from wirekey.features.realtime.responses_session import ResponsesSession
from wirekey.features.realtime.session import RealtimeSession
from wirekey.providers.context_windows import context_window
from wirekey.providers.registry import PROVIDERS

OPENAI, GEMINI = "gpt-realtime", "gemini-live-2.5-flash"
CONNECTION = Operation("realtime", Body.WEBSOCKET, Kind.INFERENCE)
FIRST_MESSAGE = Operation("realtime", Body.MESSAGE, Kind.INFERENCE)
TOOL = {"type": "function", "name": "look_up", "description": "word " * 4000}
SECOND_OF_SPEECH = base64.b64encode(bytes(48_000)).decode()


def services() -> Services:
    made = Services()
    add_services_of_features(made)
    quota = Quota("q", "all", usd_per_month=usd(1_000_000))
    values = FeatureValues.of([ConfiguredQuotas((quota,))])
    made.settings = replace(made.settings, identity_required=False, features=values)
    made.policy = SimpleNamespace(decide_at_once=lambda given: Decision(allow=True), reads=lambda *names: False)
    made.agents = SimpleNamespace()  # the calls have no token
    made.store = SimpleNamespace(record_intent=record_intent)
    made.calls.record = lambda call: None
    return made


async def record_intent(call) -> None:
    await asyncio.sleep(0)


def with_openai() -> RealtimeSession:
    call = Call(provider="openai", operation=CONNECTION, model=OPENAI, facts=Facts(model=OPENAI))
    return RealtimeSession(services(), CallState(call), OpenAiRealtime(), {})


def with_gemini(**setup) -> RealtimeSession:
    protocol = GeminiLive()
    payload = json.dumps({"setup": {"model": GEMINI, **setup}}).encode()
    facts = protocol.read_client(payload).facts
    call = Call(provider="gemini", operation=FIRST_MESSAGE, model=GEMINI, facts=facts, request_bytes=len(payload))
    return RealtimeSession(services(), CallState(call), protocol, {})


def with_responses() -> ResponsesSession:
    call = Call(provider="openai", operation=Operation("responses.connect", Body.WEBSOCKET, Kind.INFERENCE))
    state = CallState(call, original_target=b"/v1/responses")
    session = ResponsesSession(services(), state, OpenAiResponsesMessages(), {}, None, by_http=HttpConversations())
    session.leads_here = lambda candidate: True
    return session


async def send(session: RealtimeSession, *messages: dict) -> None:
    for message in messages:
        decision = session.decide(json.dumps(message).encode())
        decision = await decision if asyncio.iscoroutine(decision) else decision
        assert decision.forward, session.refusal


async def hear(session: RealtimeSession, *messages: dict) -> None:
    for message in messages:
        session.observe(json.dumps(message).encode())
        while session.tasks:
            await asyncio.wait(session.tasks)


def last(session: RealtimeSession):
    """Return the call that was begun last."""
    return next(reversed(session.services.calls.states.values()))


def hold_of_last(session: RealtimeSession) -> Hold:
    """Return what the call that was begun last holds of its quotas."""
    return last(session).features.find(CallQuotas).hold


def reserved(session: RealtimeSession) -> int:
    """Return what the response that was begun last has reserved, in billionths of a dollar."""
    return hold_of_last(session).use.cost


def cost(provider: str, model: str, usage: Usage) -> float:
    return cost_usd(PROVIDERS[provider], model, usage) * 1e9


async def of_first(session: RealtimeSession, *messages: dict) -> int:
    """Return what the first response reserves after these messages."""
    await send(session, *messages)
    return reserved(session)


def item(text: str) -> dict:
    content = [{"type": "input_text", "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


def update(**session) -> dict:
    return {"type": "session.update", "session": session}


CREATE = {"type": "response.create"}


def began(name: str) -> dict:
    return {"type": "response.created", "response": {"id": name}}


def done(name: str, **counts) -> dict:
    usage = {"usage": counts} if counts else {}
    return {"type": "response.done", "response": {"id": name, "status": "completed", **usage}}


def turn(text: str, **more) -> dict:
    parts = [{"text": text}]
    return {"clientContent": {"turns": [{"role": "user", "parts": parts}], "turnComplete": True, **more}}


# OpenAI Realtime.


@pytest.mark.parametrize(
    "given",
    [
        update(instructions="word " * 4000),
        update(tools=[TOOL]),
        item("word " * 4000),
        {"type": "input_audio_buffer.append", "audio": SECOND_OF_SPEECH * 100},
    ],
    ids=["instructions", "tools", "item", "speech"],
)
async def test_what_the_client_has_sent_before_raises_the_reservation_of_a_response(given):
    """4,000 words are at least as many tokens. 100 seconds of speech are 1,000 tokens."""
    tokens = 1000 if "audio" in given else 4000
    plain = await of_first(with_openai(), CREATE)
    more = await of_first(with_openai(), given, CREATE)
    kind = {"audio_input_tokens": tokens} if "audio" in given else {}
    assert more - plain >= cost("openai", OPENAI, Usage(tokens, 0, **kind))


async def test_an_earlier_turn_raises_the_reservation_at_the_price_of_speech():
    session = with_openai()
    plain = await of_first(session, CREATE)
    await hear(session, began("r1"), done("r1", input_tokens=9000, output_tokens=1000))
    await send(session, CREATE)
    assert reserved(session) - plain >= cost("openai", OPENAI, Usage(10_000, 0, audio_input_tokens=9000))


async def test_speech_is_not_reserved_as_if_it_were_text():
    """A minute of it is 600 tokens. Its Base64 has as many bytes as 1.3 million tokens of text."""
    session = with_openai()
    await send(session, {"type": "input_audio_buffer.append", "audio": SECOND_OF_SPEECH * 60}, CREATE)
    plain = await of_first(with_openai(), CREATE)
    assert reserved(session) - plain < cost("openai", OPENAI, Usage(16_000, 0, audio_input_tokens=16_000))


async def test_what_the_provider_has_counted_is_not_reserved_twice():
    session = with_openai()
    await send(session, item("word " * 4000), CREATE)
    await hear(session, began("r1"), done("r1", input_tokens=4010, output_tokens=90))
    await send(session, CREATE)
    plain = await of_first(with_openai(), CREATE)
    assert reserved(session) - plain < cost("openai", OPENAI, Usage(4200, 0, audio_input_tokens=4200))


async def test_a_response_with_an_input_of_its_own_does_not_hide_the_conversation():
    session = with_openai()
    await send(session, CREATE)
    await hear(session, began("r1"), done("r1", input_tokens=9000, output_tokens=1000))
    await send(session, {"type": "response.create", "response": {"conversation": "none", "input": []}})
    await hear(session, began("r2"), done("r2", input_tokens=5, output_tokens=5))
    plain = await of_first(with_openai(), CREATE)
    await send(session, CREATE)
    assert reserved(session) - plain >= cost("openai", OPENAI, Usage(10_000, 0, audio_input_tokens=9000))


async def test_a_response_that_nobody_asked_for_reserves_what_was_said_until_then():
    session = with_openai()
    await send(session, {"type": "input_audio_buffer.append", "audio": SECOND_OF_SPEECH * 50})
    await hear(session, began("r1"))
    plain = await of_first(with_openai(), CREATE)
    assert reserved(session) - plain >= cost("openai", OPENAI, Usage(500, 0, audio_input_tokens=500))


@pytest.mark.parametrize(
    "given",
    [update(prompt={"id": "pmpt_1"}), update(tools=[{"type": "mcp", "server_label": "files"}])],
    ids=["prompt", "mcp"],
)
async def test_settings_that_refer_to_something_reserve_the_window_for_each_response(given):
    rest = context_window(OPENAI) - 1000
    plain = await of_first(with_openai(), CREATE)
    session = with_openai()
    await send(session, given, CREATE)
    assert reserved(session) - plain >= cost("openai", OPENAI, Usage(rest, 0, audio_input_tokens=rest))
    await hear(session, began("r1"), done("r1", input_tokens=10, output_tokens=10))
    await hear(session, began("unasked"))
    assert reserved(session) - plain >= cost("openai", OPENAI, Usage(rest, 0, audio_input_tokens=rest))


async def test_a_response_that_ended_without_counts_leaves_the_conversation_unknown_until_the_next_counts():
    rest = context_window(OPENAI) - 1000
    session = with_openai()
    await send(session, CREATE)
    plain = reserved(session)
    await hear(session, began("r1"), done("r1"))
    await send(session, CREATE)
    assert reserved(session) - plain >= cost("openai", OPENAI, Usage(rest, 0, audio_input_tokens=rest))
    await hear(session, began("r2"), done("r2", input_tokens=10, output_tokens=10))
    await send(session, CREATE)
    assert reserved(session) - plain < cost("openai", OPENAI, Usage(1000, 0, audio_input_tokens=1000))


# Gemini Live.


@pytest.mark.parametrize(
    "setup",
    [
        {"systemInstruction": {"parts": [{"text": "word " * 4000}]}},
        {"tools": [{"functionDeclarations": [{"name": "look_up", "description": "word " * 4000}]}]},
    ],
    ids=["instructions", "tools"],
)
async def test_the_setup_raises_the_reservation_of_each_turn(setup):
    plain = await of_first(with_gemini(), turn("Hi"))
    session = with_gemini(**setup)
    for number in range(2):
        await send(session, turn("Hi"))
        assert reserved(session) - plain >= cost("gemini", GEMINI, Usage(4000, 0)), number
        counts = {"promptTokenCount": 4010, "responseTokenCount": 10}
        await hear(session, {"usageMetadata": counts, "serverContent": {"turnComplete": True}})


@pytest.mark.parametrize(
    "setup",
    [
        {"cachedContent": "cachedContents/1"},
        {"tools": [{"googleSearch": {}}]},
        {"sessionResumption": {"handle": "earlier"}},
        {"session_resumption": {"handle": "earlier"}},
    ],
    ids=str,
)
async def test_a_setup_that_refers_to_something_reserves_the_window_for_each_turn(setup):
    window = context_window(GEMINI)
    session = with_gemini(**setup)
    await send(session, turn("Hi"))
    assert reserved(session) >= cost("gemini", GEMINI, Usage(window, 0, audio_input_tokens=window))


async def test_a_setup_that_starts_a_session_which_can_be_resumed_refers_to_nothing():
    session = with_gemini(sessionResumption={})
    await send(session, turn("Hi"))
    assert not last(session).call.facts.reads_elsewhere


async def test_the_fee_of_a_tool_of_the_setup_is_reserved_for_each_turn():
    found = await of_first(with_gemini(tools=[{"googleSearch": {}}]), turn("Hi"))
    other = await of_first(with_gemini(cachedContent="cachedContents/1"), turn("Hi"))
    assert found - other == pytest.approx(50 * 0.035e9, rel=0.01)


@pytest.mark.parametrize("complete", [True, False])
async def test_a_file_that_a_turn_names_reserves_the_window(complete):
    window = context_window(GEMINI)
    session = with_gemini()
    parts = [{"fileData": {"fileUri": "https://example.com/long.pdf"}}]
    await send(session, {"clientContent": {"turns": [{"role": "user", "parts": parts}], "turnComplete": complete}})
    await send(session, *([] if complete else [turn("Hi")]))
    assert reserved(session) >= cost("gemini", GEMINI, Usage(window, 0, audio_input_tokens=window))


@pytest.mark.parametrize(
    ("given", "is_sound"),
    [
        ({"audio": {"data": "AAAA", "mimeType": "audio/pcm"}}, True),
        ({"audio": {"mimeType": "audio/pcm;rate=16000", "data": "AAAA"}}, True),
        ({"mediaChunks": [{"data": "AA-_", "mime_type": "audio/pcm;rate=8000"}]}, True),
        ({"audio": {"data": "AAAA", "mimeType": "audio/pcm;rate=1000"}}, False),
        ({"audio": {"data": "AAAA", "mimeType": "audio/mp3"}}, False),
        ({"video": {"data": "AAAA", "mimeType": "image/jpeg"}}, False),
        ({"audio": {"data": "AAAA", "mimeType": "audio/pcm"}, "text": "word " * 400}, False),
        ({"text": '{"audio":{"data":"AAAA","mimeType":"audio/pcm"}}'}, False),
    ],
    ids=str,
)
def test_only_what_is_surely_sound_is_counted_as_sound(given, is_sound):
    for separators in ((",", ":"), (", ", ": ")):
        for name in ("realtimeInput", "realtime_input"):
            payload = json.dumps({name: given}, separators=separators).encode()
            assert (GeminiLive().read_client(payload).tokens is not None) == is_sound


async def test_a_turn_that_its_client_cuts_is_charged_its_reservation_whatever_was_counted_until_then():
    session = with_gemini()
    await send(session, turn("Hi"))
    amount = reserved(session)
    (key,) = (limit.budget.key for limit in hold_of_last(session).budgets)
    await hear(session, {"usageMetadata": {"promptTokenCount": 5, "responseTokenCount": 1}})
    session.end(Outcome.CLIENT_CANCELLED, None, 0, 0)
    assert session.services.usage_limits.enforcer.view.spent(key) == amount


# Responses over a WebSocket.


async def test_a_request_reserves_its_own_tools_and_one_that_continues_the_window():
    model = "gpt-4o-mini"
    request = {"type": "response.create", "model": model, "input": "Hi", "max_output_tokens": 10}
    plain = await of_first(with_responses(), request)
    assert await of_first(with_responses(), request | {"tools": [TOOL]}) - plain >= cost(
        "openai", model, Usage(4000, 0)
    )
    window = context_window(model, 128_000)
    continued = await of_first(with_responses(), request | {"previous_response_id": "resp_1"})
    assert continued >= cost("openai", model, Usage(window, 0))


async def test_a_response_that_continues_after_steering_reserves_the_window():
    model = "gpt-4o-mini"
    session = with_responses()
    await send(session, {"type": "response.create", "model": model, "input": "Hi", "max_output_tokens": 10})
    ended = {"type": "response.completed", "response": {"id": "r1", "usage": {"input_tokens": 5, "output_tokens": 5}}}
    await hear(session, began("r1"), ended, began("r2"))
    assert reserved(session) >= cost("openai", model, Usage(context_window(model, 128_000), 0))
