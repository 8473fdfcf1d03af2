# threats go by their number
"""An event has the contract's fields in order, all known facts of a call, and no harmful content."""

import json
import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.recorded_calls import call_of, finish

from wirekey.core.audit.event import (
    MAX_INTEGER,
    MOST_NAMES,
    NAMES,
    OUTCOME_NAMES,
    REQUEST_NAMES,
    event_of,
    safe,
    safe_names,
)
from wirekey.core.audit.reading import shown_text
from wirekey.core.body import Body
from wirekey.core.call import Agent, Call
from wirekey.core.labels import LONGEST, MOST, checked
from wirekey.core.operation import Facts, Kind, Operation, Usage

CONTRACT = """
id time agent_id agent_role agent_type client provider operation method path mcp_server tool_name action target
requested_model model stream message_count has_system has_tools tool_count max_tokens policy_result policy_reason
policy_revision route credential upstream attempts status outcome finish_reason input_tokens output_tokens
cached_input_tokens cache_write_tokens reasoning_tokens cost_usd request_bytes response_bytes ttfb_ms duration_ms
translation adjusted dropped simulated audio_input_tokens audio_output_tokens parent_id
rolled_up_messages replica service_tier labels labels_unverified labels_invalid
""".split()  # noqa: SIM905  # easier to read than forty literals


def test_the_fields_are_those_of_the_contract():
    assert list(NAMES) == CONTRACT
    assert list(event_of(Call())) == CONTRACT


def test_the_event_of_a_completed_call_is_complete():
    event = event_of(finish(call_of(id="018f-1", started_at=1_700_000_000.1239)))
    assert event == {
        "id": "018f-1",
        "time": "2023-11-14T22:13:20.123Z",
        "agent_id": "alice",
        "agent_role": "developer",
        "agent_type": "cli",
        "client": "127.0.0.1",
        "provider": "openai",
        "operation": "chat.completions",
        "method": "POST",
        "path": "/v1/chat/completions",
        "mcp_server": "openai-proxy",
        "tool_name": "openai-api",
        "action": "POST",
        "target": "/openai/v1/chat/completions",
        "requested_model": "gpt-4o",
        "model": "gpt-4o-mini",
        "stream": True,
        "message_count": 3,
        "has_system": True,
        "has_tools": False,
        "tool_count": 0,
        "max_tokens": 100,
        "policy_result": "allow",
        "policy_reason": None,
        "policy_revision": None,
        "route": None,
        "credential": "openai/1",
        "upstream": "api.openai.com",
        "attempts": 1,
        "status": 200,
        "outcome": "completed",
        "finish_reason": "stop",
        "input_tokens": 10,
        "output_tokens": 20,
        "cached_input_tokens": 5,
        "cache_write_tokens": None,
        "reasoning_tokens": 0,
        "cost_usd": 0.25,
        "request_bytes": 100,
        "response_bytes": 200,
        "ttfb_ms": 12.5,
        "duration_ms": 50.0,
        "translation": None,
        "adjusted": None,
        "dropped": None,
        "simulated": False,
        "audio_input_tokens": None,
        "audio_output_tokens": None,
        "parent_id": None,
        "rolled_up_messages": None,
        "replica": None,
        "service_tier": None,
        "labels": None,
        "labels_unverified": None,
        "labels_invalid": None,
    }


def test_a_response_within_a_connection_names_the_event_of_its_connection():
    usage = Usage(input_tokens=30, output_tokens=20, audio_input_tokens=25, audio_output_tokens=15)
    event = event_of(Call(parent_id="018f-1", usage=usage))
    assert [event[name] for name in ("parent_id", "audio_input_tokens", "audio_output_tokens")] == ["018f-1", 25, 15]


def test_a_call_of_wirekeys_own_has_its_purpose_as_operation():
    operation = Operation("generateContent", Body.JSON, Kind.INFERENCE)
    assert event_of(Call(operation=operation, purpose="rollup.summary"))["operation"] == "rollup.summary"
    assert event_of(Call(operation=operation, rolled_up=4))["rolled_up_messages"] == 4


@pytest.mark.parametrize(
    ("provider", "path", "target"),
    [
        ("openai", "/v1/chat/completions", "/openai/v1/chat/completions"),
        (
            "gemini",
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "/gemini/v1beta/models/gemini-2.5-pro:generateContent",
        ),
        ("anthropic", "/v1/messages?beta=true", "/anthropic/v1/messages"),
        ("bedrock", "/model/amazon.nova-lite-v1%3A0/converse", "/bedrock/model/amazon.nova-lite-v1%3A0/converse"),
        ("openai", "api.openai.com:443", "api.openai.com:443"),
        (None, "git.example.org:443", "git.example.org:443"),
        (None, "/api/v1/cohere/v1/chat/completions", "/cohere/v1/chat/completions"),
        (None, "/nothing", "/nothing"),
    ],
)
def test_the_target_is_the_path_at_the_gateway_below_api_v1(provider, path, target):
    assert event_of(Call(provider=provider, path=path))["target"] == target


def test_the_legacy_names_derive_from_the_provider():
    event = event_of(Call(provider="gemini"))
    assert (event["mcp_server"], event["tool_name"]) == ("gemini-proxy", "gemini-api")


def test_an_unknown_value_is_none_and_never_zero():
    event = event_of(Call(id="1", started_at=0.0))
    known = {name: value for name, value in event.items() if value is not None}
    assert known == {
        "id": "1",
        "time": "1970-01-01T00:00:00.000Z",
        "method": "",
        "path": "",
        "action": "",
        "target": "",
        "attempts": 0,
        "simulated": False,
    }


def test_a_model_and_a_stream_named_by_the_path_are_recorded_as_requested():
    operation = Operation("streamGenerateContent", Body.JSON, Kind.INFERENCE, model="gemini-2.5-pro", stream=True)
    event = event_of(call_of(operation=operation, facts=Facts()))
    assert (event["requested_model"], event["stream"]) == ("gemini-2.5-pro", True)


def test_the_path_has_no_query():
    assert event_of(Call(path="/v1/models?key=canary"))["path"] == "/v1/models"


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("gpt-4o", "gpt-4o"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("nul\0", "nul\\x00"),
        ("\u202eevil", "\\u202eevil"),
        ("line\u2028end", "line\\u2028end"),
        ("lone \ud800", "lone \\ud800"),
        ("modèle", "mod\\xe8le"),
        ("wk_…", "wk_..."),
        ("no\\nbreak", "no\\\\nbreak"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 253 + "..."),
        ("\n" * 200, "\\n" * 126 + "\\..."),
    ],
)
def test_L1_what_strangers_send_is_escaped_and_capped(given, recorded):
    event = event_of(
        call_of(client=given, model=given, facts=Facts(given), usage=Usage(finish_reason=given), upstream=given)
    )
    for name in ("client", "model", "requested_model", "finish_reason", "upstream"):
        assert event[name] == recorded


@given(st.text())
def test_any_text_is_recorded_as_short_printable_ascii(text):
    recorded = safe(text, 40)
    assert len(recorded) <= 40
    assert set(recorded) <= set(string.printable[:95])


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (0, 0),
        (MAX_INTEGER, MAX_INTEGER),
        (MAX_INTEGER + 1, MAX_INTEGER),
        (-1, None),
        (True, None),
        (1.5, None),
        ("7", None),
    ],
)
def test_counts_are_integers_that_fit_a_database(given, recorded):
    event = event_of(call_of(facts=Facts(max_tokens=given), usage=Usage(input_tokens=given)))
    assert (event["max_tokens"], event["input_tokens"]) == (recorded, recorded)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_cost_that_is_not_a_number_is_unknown(value):
    assert event_of(call_of(cost_usd=value))["cost_usd"] is None


@pytest.mark.parametrize("text", ["wk_" + "a" * 30, "a" * 40, "eyJ" + "a" * 60, "a%77k_" + "b" * 20, "tab\t", "größer"])
def test_only_short_texts_that_can_hold_no_token_are_remembered(text):
    first = safe(text)
    assert text not in safe_names
    assert safe(text) == first
    assert safe("gpt-4o-mini") == "gpt-4o-mini"
    assert "gpt-4o-mini" in safe_names


def test_the_number_of_remembered_texts_is_bounded():
    for number in range(3 * MOST_NAMES):
        assert safe(f"model-{number}") == f"model-{number}"
    assert len(safe_names) <= MOST_NAMES


def test_labels_are_recorded_as_json_in_a_fixed_order():
    found = checked([("session", "s1"), ("originator", "codex"), ("run", "two words"), ("team", "ads")])
    agent = Agent("alice", labels=(("project", "p1"), ("team", "search")))
    event = event_of(Call(agent=agent, header_labels=found))
    assert event["labels"] == '{"project":"p1","team":"search"}'
    assert event["labels_unverified"] == '{"originator":"codex","session":"s1"}'
    assert event["labels_invalid"] == '["run"]'


def test_the_longest_labels_are_stored_and_shown_whole():
    pairs = [(f"{number:02}".replace("0", "a").replace("1", "b") + "n" * 62, "v" * 64) for number in range(MOST)]
    event = event_of(Call(agent=Agent("alice", labels=tuple((f"l{name}"[:64], value) for name, value in pairs))))
    assert len(json.loads(event["labels"])) == MOST
    assert len(event["labels"]) <= LONGEST
    assert shown_text(event["labels"]) == event["labels"]


def test_the_fields_of_a_request_come_first():
    """A row is the values of the request, then those of the outcome, in the order of the columns."""
    assert NAMES == REQUEST_NAMES + OUTCOME_NAMES
