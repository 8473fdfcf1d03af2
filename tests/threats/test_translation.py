"""R44, R52: programs with the SDK of one provider, and an upstream of another that says what the test wants."""

from __future__ import annotations

import json

import openai
import pytest

from tests.end_to_end.scripted_upstream import UPSTREAMS, Scripted, scripted_upstream
from tests.end_to_end.test_translation import CLIENTS
from tests.features.translation import test_claude_between_formats as claude
from tests.features.translation.test_undecodable_events import FIRST, LAST, MIDDLE, stream_with
from tests.threats.conftest import beginning

PAIRS = [(client, upstream) for client in CLIENTS for upstream in UPSTREAMS if client != upstream]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with scripted_upstream(tmp_path_factory.mktemp("scripted")) as found:
        yield found


@pytest.fixture(scope="module")
def bob(running):
    return running.wirekey.add_agent("bob")


@pytest.fixture
def scripted(running) -> Scripted:
    running.began = beginning()
    return running


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_R44_an_sdk_reads_an_event_with_half_a_surrogate_pair(scripted, client, upstream):
    scripted.streams(upstream, stream_with(upstream, lambda event: event.replace(MIDDLE.encode(), rb"\ud83d")))
    assert CLIENTS[client](*scripted.way).streamed(f"to-{upstream}") == FIRST + "\ufffd" + LAST
    event = scripted.wirekey.finished_event(scripted.began)
    assert (event["status"], event["outcome"]) == (200, "completed")
    assert event["input_tokens"] == 100


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_R44_an_sdk_gets_an_error_for_an_event_that_is_no_json_and_so_does_the_audit(scripted, client, upstream):
    scripted.streams(upstream, stream_with(upstream, lambda _: b"upstream connect error"))
    program = CLIENTS[client](*scripted.way)
    with pytest.raises(program.error):
        program.streamed(f"to-{upstream}")
    event = scripted.wirekey.finished_event(scripted.began)
    assert (event["outcome"], event["policy_reason"]) == ("upstream_error", "unreadable_answer")


def claude_at_chat(scripted, token):
    """Return a client of Chat Completions, and what it asks Claude."""
    client = openai.OpenAI(api_key=token, base_url=f"{scripted.way[0]}/v1", max_retries=0)
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}]
    asked = {"model": "to-anthropic", "tools": tools, "reasoning_effort": "low", "max_completion_tokens": 4000}
    return client, asked


@pytest.mark.parametrize("agent", ["alice", "bob"])
def test_R52_reasoning_state_that_one_agent_got_is_not_read_for_another(scripted, bob, agent):
    user = {"role": "user", "content": "Hi"}
    client, asked = claude_at_chat(scripted, scripted.way[1])
    scripted.responds(claude.response("anthropic", claude.block("anthropic", claude.SIGNED)))
    message = client.chat.completions.create(**asked, messages=[user]).choices[0].message
    (call,) = message.tool_calls
    assert "_wk1_" in call.id
    scripted.responds(claude.response("anthropic"))
    client, asked = claude_at_chat(scripted, scripted.way[1] if agent == "alice" else bob)
    result = {"role": "tool", "tool_call_id": call.id, "content": "noon"}
    said = {"role": "assistant", "tool_calls": [call.to_dict()]}
    client.chat.completions.create(**asked, messages=[user, said, result])
    body = scripted.asked()
    kinds = [block["type"] for block in body["messages"][1]["content"]]
    assert kinds == (["thinking", "tool_use"] if agent == "alice" else ["tool_use"])
    assert "wk1" not in json.dumps(body)
