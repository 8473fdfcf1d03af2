"""What is the same conversation, and where it may be cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.body import Body
from wirekey.core.operation import Kind, Operation
from wirekey.features.rollup.history import cut_points, format_of, prefix_keys, read_history, with_answer
from wirekey.providers.formats import CONVERSATIONS

USER = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "Hello"}
MADE = {"id": "c1", "type": "function", "function": {"name": "f"}}
CALL = {"role": "assistant", "content": None, "tool_calls": [MADE]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "rain"}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
SYSTEM = {"role": "system", "content": "Be terse."}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
USED = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]}


def history(form, messages):
    member = "contents" if form == "gemini" else "messages"
    return read_history(form, json.dumps({"model": "m", member: messages}).encode())


def keys(form, messages, agent="alice"):
    found = history(form, messages)
    return prefix_keys(agent, form, found.encoded)


def said(**members):
    return [{"role": "assistant", **members}]


SAME = {
    "a text and a list of one text": (
        "openai.chat",
        said(content="ab"),
        said(content=[{"type": "text", "text": "ab"}]),
    ),
    "one text and two": ("anthropic", said(content="ab"), said(content=[{"type": "text", "text": t} for t in "ab"])),
    "null members of an SDK": (
        "openai.chat",
        said(content="ab"),
        said(content="ab", refusal=None, annotations=[], audio=None, function_call=None, tool_calls=None),
    ),
    "a cache mark": (
        "anthropic",
        said(content="ab"),
        said(content=[{"type": "text", "text": "ab", "cache_control": {"type": "ephemeral"}}]),
    ),
    "a cache point": ("converse", said(content=[{"text": "ab"}]), said(content=[{"text": "ab"}, {"cachePoint": {}}])),
    "thinking": (
        "anthropic",
        said(content="ab"),
        said(content=[{"type": "thinking", "thinking": "Hm", "signature": "x"}, {"type": "text", "text": "ab"}]),
    ),
    "reasoning": (
        "converse",
        said(content=[{"text": "ab"}]),
        said(content=[{"reasoningContent": {"reasoningText": {"text": "Hm"}}}, {"text": "ab"}]),
    ),
    "reasoning beside the text": ("openai.chat", said(content="ab"), said(content="ab", reasoning_content="Hm")),
    "thoughts and signatures": (
        "gemini",
        [{"role": "model", "parts": [{"text": "ab"}]}],
        [{"role": "model", "parts": [{"text": "Hm", "thought": True}, {"text": "ab", "thoughtSignature": "x"}]}],
    ),
    "the chunks of a stream": (
        "gemini",
        [{"role": "model", "parts": [{"text": "ab"}]}],
        [{"role": "model", "parts": [{"text": t}]} for t in ("a", "b", "")],
    ),
    "no role": ("gemini", [{"role": "user", "parts": [{"text": "a"}]}], [{"parts": [{"text": "a"}]}]),
    "one part alone": (
        "gemini",
        [{"role": "user", "parts": [{"text": "a"}]}],
        [{"role": "user", "parts": {"text": "a"}}],
    ),
    "other system messages": ("openai.chat", [SYSTEM, USER], [{"role": "developer", "content": "x"}, USER, SYSTEM]),
    "the order of members": ("openai.chat", [USER], [dict(reversed(USER.items()))]),
}


@pytest.mark.parametrize("name", SAME)
def test_messages_that_say_the_same_have_the_same_key(name):
    form, one, other = SAME[name]
    assert keys(form, one)[-1] == keys(form, other)[-1]


OTHER = {
    "other words": ([USER], [{**USER, "content": "Ho"}]),
    "another role": ([USER], [{**USER, "role": "assistant"}]),
    "a name": ([USER], [{**USER, "name": "bob"}]),
    "the result of another call": ([RESULT], [{**RESULT, "tool_call_id": "c2"}]),
    "other arguments": ([CALL], [{**CALL, "tool_calls": [{**MADE, "function": {"name": "g"}}]}]),
    "one message more": ([USER], [USER, USER]),
    "another cut between messages": ([USER, {**USER, "content": "x"}], [{**USER, "content": "Hix"}]),
    "a mark within arguments": (
        [
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"cache_control": 1}}],
            }
        ],
        [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}],
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_messages_that_say_something_else_have_another_key(name):
    one, other = OTHER[name]
    assert keys("openai.chat", one)[-1] != keys("openai.chat", other)[-1]


def test_a_key_is_of_one_agent_and_one_format():
    assert keys("openai.chat", [USER]) != keys("openai.chat", [USER], agent="bob")
    assert keys("openai.chat", [USER]) != keys("anthropic", [USER])


@pytest.mark.parametrize(
    ("form", "messages", "points"),
    [
        ("openai.chat", [USER], []),
        ("openai.chat", [USER, SAID], []),
        ("openai.chat", [USER, SAID, USER], [2]),
        ("openai.chat", [SYSTEM, USER, SAID, SYSTEM, USER, SAID, USER], [4, 2]),
        ("openai.chat", [USER, SAID, USER, SAID], [2]),
        ("openai.chat", [USER, CALL, RESULT, SAID, USER], [4]),
        ("openai.chat", [USER, CALL, RESULT], []),
        ("openai.chat", [USER, SAID, USER, CALL, RESULT], [2]),
        ("openai.chat", [USER, CALL, USER, RESULT], []),
        ("openai.chat", [USER, SAID, IMAGE, SAID, USER], [2]),
        ("openai.chat", [IMAGE, SAID, USER], []),
        ("anthropic", [USER, USE, USED], []),
        ("anthropic", [USER, USE, USED, SAID, USER], [4]),
        ("anthropic", [USER, SAID, USER, USE, USED], [2]),
    ],
)
def test_a_cut_leaves_the_last_message_of_the_user_and_each_result_with_its_call(form, messages, points):
    assert cut_points(history(form, messages).turns) == points


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"a": 1}}}]},
        ),
        (
            {"role": "model", "parts": [{"function_call": {"id": "1", "name": "f"}}]},
            {"role": "function", "parts": [{"function_response": {"id": "1", "name": "f", "response": {}}}]},
        ),
    ],
    ids=["by name", "by id"],
)
def test_calls_of_gemini_belong_to_their_results(call, result):
    user = {"role": "user", "parts": [{"text": "Hi"}]}
    found = history("gemini", [user, call, result, {"role": "model", "parts": [{"text": "a"}]}, user])
    assert cut_points(found.turns) == [4]
    assert cut_points(history("gemini", [user, call, result]).turns) == []


def test_calls_of_converse_belong_to_their_results():
    user = {"role": "user", "content": [{"text": "Hi"}]}
    call = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}]}
    result = {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"json": {}}]}}]}
    picture = {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"image": {}}]}}]}
    said = {"role": "assistant", "content": [{"text": "a"}]}
    assert cut_points(history("converse", [user, call, result, said, user]).turns) == [4]
    assert cut_points(history("converse", [user, call, picture, said, user]).turns) == []


def test_a_response_makes_the_key_of_the_next_request():
    encoded, is_plain = with_answer(history("openai.chat", [SYSTEM, USER]), "Hello")
    assert is_plain
    assert prefix_keys("alice", "openai.chat", encoded)[-1] == keys("openai.chat", [USER, SAID, USER])[1]


def test_a_response_that_continues_a_prefilled_one_is_one_message():
    encoded, _ = with_answer(history("anthropic", [USER, {"role": "assistant", "content": "Hel"}]), "lo")
    assert prefix_keys("alice", "anthropic", encoded)[-1] == keys("anthropic", [USER, SAID])[1]


def test_a_conversation_with_an_image_cannot_be_stored():
    assert with_answer(history("openai.chat", [IMAGE]), "Hello")[1] is False


def test_the_operations_are_those_of_the_formats():
    found = {name for name in CONVERSATIONS if format_of(Operation(name, Body.JSON, Kind.INFERENCE))}
    assert found == {
        *("chat.completions", "generateContent", "streamGenerateContent", "messages"),
        *("invoke", "invoke-with-response-stream", "converse", "converse-stream"),
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"messages": "x"}',
        b'{"messages": [1]}',
        b'{"messages": [{"role": "owner"}]}',
        b'{"messages": [{"role": "user", "content": 5}]}',
        b'{"messages": [{"role": "tool", "content": ""}]}',
        b'{"messages": [{"role": "user", "content": [5]}]}',
        b'{"messages": [], "messages": []}',
        b"\xff",
        b'{"messages": [{"role": "assistant", "tool_calls": [{}]}]}',
    ],
)
def test_a_body_of_another_kind_is_left_alone(body):
    assert read_history("openai.chat", body) is None


NAMES = ("role", "content", "parts", "text", "type", "id", "tool_calls", "toolUse", "name", "toolResult")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["openai.chat", "gemini", "anthropic", "converse", "invoke"]), st.lists(JSON, max_size=4))
def test_reading_never_raises(form, messages):
    found = history(form, messages)
    if found:
        cut_points(found.turns)
        assert len(found.encoded) == len(found.turns)


ROLES = st.lists(st.sampled_from(["user", "said", "call", "result", "both"]), max_size=14)


@given(ROLES)
def test_no_cut_leaves_a_result_without_its_call(kinds):
    open_calls, messages = [], []
    for number, kind in enumerate(kinds):
        if kind == "user":
            messages.append(USER)
        elif kind == "said":
            messages.append(SAID)
        elif kind == "call":
            open_calls.append(f"c{number}")
            messages.append({**CALL, "tool_calls": [{"id": f"c{number}", "function": {"name": "f"}}]})
        elif open_calls:
            messages.append({**RESULT, "tool_call_id": open_calls.pop(0)})
    found = history("openai.chat", messages)
    for point in cut_points(found.turns):
        left = messages[found.turns[point].begin :]
        made = {call["id"] for message in left for call in message.get("tool_calls") or ()}
        assert {message["tool_call_id"] for message in left if message["role"] == "tool"} <= made
        assert left[0]["role"] == "user"
