"""A message can script a session with tools, in the formats of all providers."""

import json

import pytest

from wirekey_simulator import text
from wirekey_simulator.session import MARK, last_result, planned

STEPS = [
    {"tool": "write", "input": {"path": "a"}},
    {"tool": "shell", "input": {"command": "cat a"}},
    {"text": "It says: {result}"},
]
PROMPT = f"Please work. {MARK} {json.dumps(STEPS)} Thank you."
OFFERED = [("read", None), ("write", None), ("shell", None)]
CALL = {"name": "x", "arguments": "{}"}


def tool_call(body, offered):
    return next(iter(planned(body, offered).calls), None)


def scripted_text(body):
    return planned(body, []).text


TURNS = {
    "openai chat": (
        "messages",
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": None, "tool_calls": [{"function": CALL}]},
        {"role": "tool", "content": "one line"},
    ),
    "openai responses": (
        "input",
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": PROMPT}]},
        {"type": "function_call", **CALL},
        {"type": "function_call_output", "output": "one line"},
    ),
    "anthropic": (
        "messages",
        {"role": "user", "content": [{"type": "text", "text": "<reminder>"}, {"type": "text", "text": PROMPT}]},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "x", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": "one line"}]},
    ),
    "gemini": (
        "contents",
        {"role": "user", "parts": [{"text": PROMPT}]},
        {"role": "model", "parts": [{"functionCall": {"name": "x", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "x", "response": {"output": "one line"}}}]},
    ),
    "converse": (
        "messages",
        {"role": "user", "content": [{"text": PROMPT}]},
        {"role": "assistant", "content": [{"toolUse": {"name": "x", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"content": [{"text": "one line"}]}}]},
    ),
}


@pytest.mark.parametrize("shape", TURNS)
def test_the_steps_follow_each_other(shape):
    key, asked, called, result = TURNS[shape]
    assert tool_call({key: [asked]}, OFFERED) == ("write", {"path": "a"})
    assert tool_call({key: [asked, called, result]}, OFFERED) == ("shell", {"command": "cat a"})
    ended = {key: [asked, called, result, called, result]}
    assert tool_call(ended, OFFERED) is None
    assert scripted_text(ended) == "It says: one line"


@pytest.mark.parametrize("shape", TURNS)
def test_the_last_result_is_found(shape):
    key, *turns = TURNS[shape]
    assert last_result({key: turns}) == "one line"


def test_after_the_last_step_its_text_is_repeated():
    key, asked, called, result = TURNS["anthropic"]
    body = {key: [asked, *[called, result] * 5]}
    assert tool_call(body, OFFERED) is None
    assert scripted_text(body) == "It says: one line"


def test_after_a_tool_as_the_last_step_the_usual_text_comes():
    asked = {"role": "user", "content": f"{MARK} {json.dumps(STEPS[:1])}"}
    body = {"messages": [asked, {"role": "assistant", "content": "x"}]}
    assert tool_call(body, OFFERED) is None
    assert scripted_text(body) == text.TEXT


def test_a_step_needs_its_tool():
    body = {"messages": [{"role": "user", "content": PROMPT}]}
    assert tool_call(body, [("read", None)]) is None
    assert tool_call(body, []) is None
    assert scripted_text(body) == text.TEXT


def test_turns_before_the_message_do_not_count():
    before = [{"role": "user", "content": "Example"}, {"role": "assistant", "content": "Example"}]
    assert tool_call({"messages": [*before, {"role": "user", "content": PROMPT}]}, OFFERED) == ("write", {"path": "a"})


def test_a_quoted_message_is_read():
    assert tool_call({"messages": [{"role": "user", "content": json.dumps(PROMPT)}]}, OFFERED) == (
        "write",
        {"path": "a"},
    )


@pytest.mark.parametrize("script", ["", "[", "{}", '"text"', "[1, null]", "nothing", '[{"tool": ["write"]}]'])
def test_a_wrong_script_changes_nothing(script):
    for prompt in (f"{MARK} {script}", f'"{MARK} {script}'):
        body = {"messages": [{"role": "user", "content": prompt}]}
        assert tool_call(body, OFFERED) is None
        assert scripted_text(body) == text.TEXT
