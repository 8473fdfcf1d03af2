"""Programs with the SDK of one provider, and an upstream of another that says what real ones have said."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest

from tests.end_to_end.scripted_upstream import UPSTREAMS, Scripted, scripted_upstream
from tests.end_to_end.test_translation import Converse
from tests.features.translation import response_forms
from tests.features.translation import test_claude_between_formats as claude
from tests.features.translation.test_late_parts import LATE, shortened
from tests.threats.conftest import beginning

CLOCK = {"name": "clock", "description": "The clock", "parameters": {"type": "object", "properties": {}}}
ASKED = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with scripted_upstream(tmp_path_factory.mktemp("scripted")) as found:
        yield found


@pytest.fixture
def scripted(running) -> Scripted:
    running.began = beginning()
    return running


def openai_client(scripted):
    base, token, _ = scripted.way
    return openai.OpenAI(api_key=token, base_url=f"{base}/v1", max_retries=0)


def claude_client(scripted):
    base, token, _ = scripted.way
    return anthropic.Anthropic(api_key=token, base_url=base, max_retries=0)


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("upstream", [upstream for upstream in UPSTREAMS if upstream != "openai.chat"])
def test_a_chat_client_gets_usage_if_it_asked_for_it(scripted, upstream, asks):
    scripted.streams_events(upstream, response_forms.events(upstream, "text"))
    more = {"stream_options": {"include_usage": True}} if asks else {}
    chunks = list(openai_client(scripted).chat.completions.create(model=f"to-{upstream}", stream=True, **ASKED, **more))
    assert [chunk.usage.prompt_tokens for chunk in chunks if chunk.usage] == [100] * asks
    assert all(chunk.choices for chunk in chunks[: len(chunks) - asks])
    assert scripted.wirekey.finished_event(scripted.began)["input_tokens"] == 100


@pytest.mark.parametrize("late", LATE)
def test_a_chat_client_gets_arguments_that_come_only_when_they_are_done(scripted, late):
    events = shortened(response_forms.events("openai.responses", "calls"), late)
    scripted.streams_events("openai.responses", events)
    with openai_client(scripted).chat.completions.stream(model="to-openai.responses", **ASKED) as stream:
        (choice,) = stream.get_final_completion().choices
    calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls]
    assert calls == [(name, given) for _, name, given in response_forms.CALLS]


@pytest.mark.parametrize("upstream", ["anthropic", "converse", "invoke"])
def test_a_client_of_responses_gets_the_same_arguments_in_pieces_and_at_the_end(scripted, upstream):
    scripted.streams_events(upstream, response_forms.events(upstream, "calls"))
    tools = [{"type": "function", **CLOCK, "strict": False}]
    with openai_client(scripted).responses.stream(model=f"to-{upstream}", input="Hi", tools=tools) as stream:
        events = list(stream)
    said = {name: json.loads(given) for _, name, given in response_forms.CALLS}
    for item in events[-1].response.output:
        pieces = [
            event.delta
            for event in events
            if event.type == "response.function_call_arguments.delta" and event.item_id == item.id
        ]
        (done,) = [
            event
            for event in events
            if event.type == "response.function_call_arguments.done" and event.item_id == item.id
        ]
        assert "".join(pieces) == done.arguments == item.arguments
        assert json.loads(done.arguments) == said[item.name]


def empty_call_of_claude():
    block = {"type": "tool_use", "id": "call_2", "name": "clock", "input": {}}
    yield {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 1}}}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}}
    yield {"type": "message_stop"}


def test_a_client_of_responses_reads_an_empty_object_for_a_call_without_arguments(scripted):
    scripted.streams_events("anthropic", empty_call_of_claude())
    tools = [{"type": "function", **CLOCK, "strict": False}]
    with openai_client(scripted).responses.stream(model="to-anthropic", input="Hi", tools=tools) as stream:
        events = list(stream)
    snapshots = [event.snapshot for event in events if event.type == "response.function_call_arguments.delta"]
    assert snapshots[-1] == events[-1].response.output[0].arguments == "{}"


def test_an_sdk_of_anthropic_gets_the_thinking_of_a_claude_at_bedrock_and_sends_it_back(scripted):
    for reasoning in (claude.SIGNED, claude.UNSHOWN, claude.DATA):
        given = claude.block("anthropic", reasoning)
        scripted.streams_events("converse", list(claude.events("converse", reasoning)))
        asked = {"model": "to-converse", "max_tokens": 4000, "thinking": claude.ENABLED}
        with claude_client(scripted).messages.stream(**asked, **ASKED) as stream:
            message = stream.get_final_message()
        assert message.content[0].to_dict() == given
        scripted.responds(claude.response("converse"))
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "noon"}]}
        turns = [*ASKED["messages"], {"role": "assistant", "content": message.content}, result]
        claude_client(scripted).messages.create(**asked, messages=turns)
        assert scripted.asked()["messages"][1]["content"][0] == claude.block("converse", reasoning)


def test_boto3_gets_the_thinking_of_anthropics_api_and_sends_it_back(scripted):
    client = Converse(*scripted.way).client
    for reasoning in (claude.SIGNED, claude.UNSHOWN, claude.DATA):
        scripted.responds(claude.response("anthropic", claude.block("anthropic", reasoning)))
        body = claude.history("converse", claude.block("converse", reasoning))
        asked = {"modelId": "to-anthropic", "toolConfig": body["toolConfig"], "messages": body["messages"][:1]}
        message = client.converse(**asked)["output"]["message"]
        found = message["content"][0]["reasoningContent"]
        if reasoning is claude.DATA:
            assert found["redactedContent"] == claude.DATA.encode()
        else:
            assert found["reasoningText"] == dict(zip(("text", "signature"), reasoning, strict=True))
        scripted.responds(claude.response("anthropic"))
        client.converse(**{**asked, "messages": [asked["messages"][0], message, body["messages"][-1]]})
        assert scripted.asked()["messages"][1]["content"][0] == claude.block("anthropic", reasoning)


SAFETY = [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_LOW_AND_ABOVE"}]


@pytest.mark.parametrize("upstream", ["openai.responses", "anthropic", "converse", "invoke"])
@pytest.mark.parametrize("inside", [False, True], ids=["in the request", "in extra_body"])
def test_geminis_safety_settings_are_named_where_they_are_lost(scripted, upstream, inside):
    scripted.responds(response_forms.whole(upstream, "text"))
    extra = {"gemini_safety_settings": SAFETY}
    chat = openai_client(scripted).chat.completions.with_raw_response
    response = chat.create(model=f"to-{upstream}", extra_body={"extra_body": extra} if inside else extra, **ASKED)
    assert response.headers["x-wirekey-dropped"] == "gemini_safety_settings"
    assert scripted.wirekey.finished_event(scripted.began)["dropped"] == "gemini_safety_settings"


def test_geminis_safety_settings_reach_gemini(scripted):
    scripted.responds(response_forms.whole("gemini", "text"))
    chat = openai_client(scripted).chat.completions
    chat.create(model="to-gemini", extra_body={"extra_body": {"gemini_safety_settings": SAFETY}}, **ASKED)
    assert scripted.asked()["safetySettings"] == SAFETY
    assert scripted.wirekey.finished_event(scripted.began).get("dropped") is None


@pytest.mark.parametrize("upstream", ["openai.responses", "gemini", "anthropic", "converse"])
def test_a_member_of_extra_body_that_nobody_knows_is_refused(scripted, upstream):
    scripted.responds({})
    extra = {"extra_body": {"google": {"thinking_config": {"include_thoughts": True}, "canary": 1}}}
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client(scripted).chat.completions.create(model=f"to-{upstream}", extra_body=extra, **ASKED)
    assert refused.value.param == "extra_body.google"
    assert "canary" not in refused.value.message
    assert not scripted.upstream.asked


def test_a_refusal_of_a_built_in_tool_names_it(scripted):
    scripted.responds({})
    for tool in ({"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["v"]}):
        with pytest.raises(openai.BadRequestError, match=f"{tool['type']} is a tool"):
            openai_client(scripted).responses.create(model="to-anthropic", input="Hi", tools=[tool])
    assert not scripted.upstream.asked
