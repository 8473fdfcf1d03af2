"""The responses of one connection that have not ended: which of them an error is about, and how many there may be."""

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from wirekey.core.call import Call, Outcome
from wirekey.core.calls.services import Services
from wirekey.core.calls.state import CallState
from wirekey.core.errors import Refusal
from wirekey.core.identity.agents import AgentStore
from wirekey.core.operation import Facts
from wirekey.core.policy.decision import Decision
from wirekey.features.realtime.http_conversations import HttpConversations
from wirekey.features.realtime.openai import OpenAiRealtime
from wirekey.features.realtime.openai_responses import OpenAiResponsesMessages
from wirekey.features.realtime.response_calls import MOST_OPEN, RealtimeResponse
from wirekey.features.realtime.responses_session import ResponsesSession
from wirekey.features.realtime.session import RealtimeSession

USAGE = {"input_tokens": 1000, "output_tokens": 2000}
FAILED = {"type": "error", "status": 400, "error": {"type": "invalid_request_error", "code": "invalid_value"}}


class Record:
    """Keeps what a session records."""

    def __init__(self, folder):
        self.services = Services()
        self.services.agents = AgentStore(folder / "agents.json")
        self.services.settings = replace(self.services.settings, identity_required=False)
        self.services.policy = SimpleNamespace(decide_at_once=lambda given: Decision(allow=True))
        self.services.store = SimpleNamespace(record_intent=self.record_intent)
        self.ended = []
        self.services.calls.record = self.ended.append

    async def record_intent(self, call):
        await asyncio.sleep(0)

    def session(self, kind=ResponsesSession):
        parent = CallState(Call(provider="openai"), original_target=b"/v1/responses")
        if kind is ResponsesSession:
            return ResponsesSession(
                self.services, parent, OpenAiResponsesMessages(), {}, None, by_http=HttpConversations()
            )
        return RealtimeSession(self.services, parent, OpenAiRealtime(), {})

    def ask(self, session, model, lane=None):
        """Note a response that was asked for, as `decide` does."""
        state = session.open(session.operation, Facts(model=model, stream=True))
        state.call.model = model
        session.requested.append(RealtimeResponse(state, lane=lane))

    def outcomes(self):
        return [(call.model, call.outcome, call.usage.output_tokens) for call in self.ended]


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path)


def observe(session, *events):
    """Let the session hear these events of its provider, and finish what it does then."""

    async def hear():
        for event in events:
            session.observe(json.dumps(event).encode())
            while session.tasks:
                await asyncio.wait(session.tasks)

    asyncio.run(hear())


def began(name):
    return {"type": "response.created", "response": {"id": name}}


def completed(name):
    return {"type": "response.completed", "response": {"id": name, "status": "completed", "usage": USAGE}}


def test_an_error_about_another_event_does_not_end_the_running_response(record):
    session = record.session()
    record.ask(session, "gpt-5")
    observe(session, began("resp_1"), FAILED, completed("resp_1"))
    assert record.outcomes() == [("gpt-5", Outcome.COMPLETED, 2000)]


def test_a_response_that_begins_after_an_error_about_another_event_has_its_model(record):
    session = record.session()
    record.ask(session, "gpt-5")
    observe(session, FAILED, began("resp_1"), completed("resp_1"))
    assert record.outcomes() == [("gpt-5", Outcome.UPSTREAM_ERROR, 0), ("gpt-5", Outcome.COMPLETED, 2000)]


def test_an_error_within_a_response_ends_it(record):
    session = record.session()
    record.ask(session, "gpt-5")
    observe(session, began("resp_1"), {"type": "error", "code": "server_error", "sequence_number": 3})
    (call,) = record.ended
    assert (call.outcome, call.policy_reason, session.running) == (Outcome.UPSTREAM_ERROR, "server_error", {})


@pytest.mark.parametrize("kind", [ResponsesSession, RealtimeSession], ids=["responses", "realtime"])
def test_a_connection_has_a_limited_number_of_responses_that_were_never_answered(kind, record):
    session = record.session(kind)
    session.requested.extend([RealtimeResponse(session.parent)] * (MOST_OPEN - 1))
    session.check_open()
    session.requested.append(RealtimeResponse(session.parent))
    with pytest.raises(Refusal) as refused:
        session.check_open()
    assert (refused.value.status, refused.value.code) == (429, "too_many_responses")
    session.leads_here = lambda _: True
    decision = asyncio.run(session.decide(b'{"type":"response.create"}'))
    assert not decision.forward
    assert json.loads(decision.reply)["error"]["code"] == "too_many_responses"


@pytest.mark.parametrize("kind", [ResponsesSession, RealtimeSession], ids=["responses", "realtime"])
def test_a_provider_that_begins_responses_without_end_is_disconnected(kind, record):
    session = record.session(kind)
    assert session.due() is None

    async def flood():
        for number in range(10_000):
            session.observe(json.dumps(began(f"resp_{number}")).encode())
        assert len(session.running) <= 2 * MOST_OPEN
        assert len(record.services.calls.states) <= 2 * MOST_OPEN
        assert session.due().outcome is Outcome.UPSTREAM_ERROR
        session.end(Outcome.UPSTREAM_ERROR, "too many", 0, 0)
        while session.tasks:
            await asyncio.wait(session.tasks)

    asyncio.run(flood())
    assert record.services.calls.states == {}


KEY = "sk-of-the-provider"


@pytest.mark.parametrize("written", [KEY, "\\u0073k-of-the-provider"], ids=["plain", "escaped"])
@pytest.mark.parametrize(
    "event",
    [
        '{"type":"error","status":400,"error":{"code":"not KEY"}}',
        '{"type":"response.incomplete","response":{"id":"r","model":"KEY","incomplete_details":{"reason":"KEY"}}}',
        '{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"KEY"}}}',
    ],
    ids=["error", "reason", "failure"],
)
def test_a_key_that_the_provider_quotes_is_not_recorded(event, written, record, monkeypatch):
    session = record.session()
    monkeypatch.setattr(ResponsesSession, "secrets", (KEY.encode(),))
    record.ask(session, "gpt-5")
    observe(session, began("r"))
    record.ask(session, "gpt-5")
    session.observe(event.replace("KEY", written).encode())
    assert record.ended
    assert KEY not in repr(record.ended)
