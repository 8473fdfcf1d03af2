"""What the console and the metrics learn of open sessions: counts and names, from the events of calls alone."""

import pytest

from wirekey.core.body import Body
from wirekey.core.call import Agent, Call, Outcome
from wirekey.core.observing.open_sessions import MAX_ROWS, OpenSessions, joined
from wirekey.core.operation import Kind, Operation, Usage

SESSION = Operation("realtime", Body.WEBSOCKET, Kind.INFERENCE)
RESPONSE = Operation("realtime.response", Body.WEBSOCKET, Kind.INFERENCE)
LATE = Operation("realtime", Body.MESSAGE, Kind.INFERENCE)
STREAM = Operation("invoke-with-bidirectional-stream", Body.EVENTS, Kind.INFERENCE)
CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)


def opened(observer, operation=SESSION, **more):
    call = Call(agent=Agent("alice"), provider="openai", operation=operation, model="gpt-realtime", **more)
    call.intent_recorded = True
    observer.began(call)
    return call


def responded(observer, parent, usage=None, cost=None, *, outcome=Outcome.COMPLETED, intent=True, model="gpt-realtime"):
    call = Call(agent=parent.agent, provider="openai", operation=RESPONSE, model=model, parent_id=parent.id)
    call.usage, call.cost_usd, call.outcome, call.intent_recorded = usage, cost, outcome, intent
    if intent:
        observer.began(call)
    observer.ended(call)


@pytest.fixture
def sessions():
    return OpenSessions()


@pytest.mark.parametrize(
    "operation", [SESSION, LATE, STREAM], ids=["WebSocket", "model in a message", "two-way stream"]
)
def test_a_session_is_listed_until_it_ends(sessions, operation):
    call = opened(sessions, operation)
    (row,) = sessions.report()["rows"]
    assert {name: row[name] for name in ("id", "agent", "provider", "operation", "model")} == {
        "id": call.id,
        "agent": "alice",
        "provider": "openai",
        "operation": operation.name,
        "model": "gpt-realtime",
    }
    assert (row["responses"], row["input_tokens"], row["cost_usd"]) == (0, None, None)
    assert sessions.counts() == {("openai", operation.name): 1}
    sessions.ended(call)
    assert sessions.report() == {"count": 0, "rows": []}
    assert sessions.counts() == {("openai", operation.name): 0}


def test_other_calls_are_no_sessions(sessions):
    sessions.ended(opened(sessions, CHAT))
    opened(sessions, CHAT)
    opened(sessions, None)
    assert sessions.sessions == {}


def test_tokens_and_costs_of_responses_are_added_and_what_is_unknown_stays_unknown(sessions):
    call = opened(sessions)
    responded(sessions, call, Usage(10, 20, audio_input_tokens=4), 0.5)
    responded(sessions, call, Usage(1, 2, audio_input_tokens=1, audio_output_tokens=2), 0.25, model="gpt-later")
    responded(sessions, call, Usage(7, 0))
    responded(sessions, call)
    responded(sessions, call, outcome=Outcome.DENIED, intent=False)
    (row,) = sessions.report()["rows"]
    assert (row["responses"], row["input_tokens"], row["output_tokens"]) == (4, 18, 22)
    assert (row["audio_input_tokens"], row["audio_output_tokens"]) == (5, 2)
    assert (row["cost_usd"], row["unpriced"]) == (0.75, 1)
    assert row["model"] == "gpt-realtime"


def test_a_response_of_a_session_that_has_ended_keeps_nothing(sessions):
    call = opened(sessions)
    sessions.ended(call)
    responded(sessions, call, Usage(1, 1))
    assert sessions.sessions == {}


def test_a_report_names_a_bounded_number_of_sessions_and_counts_the_others(sessions):
    for number in range(MAX_ROWS + 5):
        opened(sessions, started_at=float(number))
    elsewhere = OpenSessions()
    opened(elsewhere, started_at=0.5)
    opened(elsewhere, STREAM, started_at=1e9)
    both = joined([sessions.report(), elsewhere.report()])
    assert (both["count"], len(both["rows"])) == (MAX_ROWS + 7, MAX_ROWS)
    assert [row["started_at"] for row in both["rows"]][:3] == [0.0, 0.5, 1.0]
    assert sessions.counts() == {("openai", "realtime"): MAX_ROWS + 5}
