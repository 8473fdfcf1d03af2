"""Conversations that are to use HTTP are remembered for a minute, and not more than a number of them."""

import pytest

from wirekey.core.call import Agent, Call
from wirekey.features.realtime import http_conversations
from wirekey.features.realtime.http_conversations import LONGEST, MOST, SECONDS, HttpConversations

FIRST, SECOND = {"session-id": "first"}, {"session_id": "second"}


def call_of(name: str | None, client: str = "192.0.2.1") -> Call:
    return Call(client=client, agent=Agent(name, "engineer", "interactive") if name else None)


def test_a_conversation_is_remembered_for_a_minute(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(http_conversations.time, "monotonic", lambda: now)
    conversations = HttpConversations()
    conversations.note(call_of("alice"), FIRST, "gpt-translated")
    assert conversations.model_of(call_of("alice", "192.0.2.2"), {"session_id": "first"}) == "gpt-translated"
    now += SECONDS + 1
    assert conversations.model_of(call_of("alice"), FIRST) is None


@pytest.mark.parametrize(("name", "headers"), [("alice", SECOND), ("alice", {}), ("bob", FIRST), (None, FIRST)])
def test_no_other_conversation_and_no_other_agent_is_refused(name, headers):
    conversations = HttpConversations()
    conversations.note(call_of("alice"), FIRST, "gpt-translated")
    assert conversations.model_of(call_of(name), headers) is None


@pytest.mark.parametrize("headers", [{}, {"session-id": ""}, {"session-id": "x" * (LONGEST + 1)}])
def test_a_connection_without_a_name_that_can_be_kept_is_not_remembered(headers):
    conversations = HttpConversations()
    conversations.note(call_of("alice"), headers, "gpt-translated")
    assert conversations.model_of(call_of("alice"), headers) is None


def test_a_client_without_an_agent_is_remembered_by_its_address():
    conversations = HttpConversations()
    conversations.note(call_of(None), FIRST, None)
    assert conversations.model_of(call_of(None), FIRST) == ""
    assert conversations.model_of(call_of(None, "192.0.2.2"), FIRST) is None


def test_the_number_of_conversations_is_limited():
    conversations = HttpConversations()
    for number in range(MOST + 1):
        conversations.note(call_of("alice"), {"session-id": str(number)}, "gpt-5")
    assert conversations.model_of(call_of("alice"), {"session-id": "0"}) is None
    assert conversations.model_of(call_of("alice"), {"session-id": str(MOST)}) == "gpt-5"
