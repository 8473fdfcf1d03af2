"""Where the stored text goes, in each shape of a request."""

from __future__ import annotations

import json

import pytest

from wirekey.features.rollup.history import read_history
from wirekey.features.rollup.shortening import shortened

TEXT = "[stored]"
A, B = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
LIST_A, LIST_B = {"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "content": [{"text": "b"}]}
TYPED = {"role": "user", "content": [{"type": "text", "text": "a"}]}
PART_A, PART_B = {"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}
SYSTEM = {"role": "system", "content": "s"}
CLAUDE, MISTRAL = "anthropic.claude-3-haiku-20240307-v1:0", "mistral.mistral-large-2402-v1:0"

CASES = {
    "chat without a system message": (
        "openai.chat",
        {"messages": [A, B, A]},
        {"messages": [{"role": "system", "content": TEXT}, A]},
    ),
    "chat": (
        "openai.chat",
        {"messages": [SYSTEM, A, B, A]},
        {"messages": [{"role": "system", "content": f"{TEXT}\ns"}, A]},
    ),
    "chat, later system messages stay": (
        "openai.chat",
        {"messages": [A, SYSTEM, B, {"role": "developer", "content": "d"}, A]},
        {"messages": [{"role": "system", "content": f"{TEXT}\ns"}, {"role": "developer", "content": "d"}, A]},
    ),
    "chat, a list": (
        "openai.chat",
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": "s"}]}, A, B, A]},
        {
            "messages": [
                {
                    "role": "developer",
                    "content": [{"type": "text", "text": f"{TEXT}\n"}, {"type": "text", "text": "s"}],
                },
                A,
            ]
        },
    ),
    "gemini without an instruction": (
        "gemini",
        {"contents": [PART_A, PART_B, PART_A]},
        {"systemInstruction": {"parts": [{"text": TEXT}]}, "contents": [PART_A]},
    ),
    "gemini": (
        "gemini",
        {"contents": [PART_A, PART_B, PART_A], "systemInstruction": {"role": "x", "parts": [{"text": "s"}]}},
        {"contents": [PART_A], "systemInstruction": {"role": "x", "parts": [{"text": f"{TEXT}\ns"}]}},
    ),
    "gemini in snake case": (
        "gemini",
        {"system_instruction": {"parts": [{"text": "s"}, {"text": "t"}]}, "contents": [PART_A, PART_B, PART_A]},
        {"system_instruction": {"parts": [{"text": f"{TEXT}\ns"}, {"text": "t"}]}, "contents": [PART_A]},
    ),
    "gemini, a plain text": (
        "gemini",
        {"system_instruction": "s", "contents": [PART_A, PART_B, PART_A]},
        {"system_instruction": f"{TEXT}\ns", "contents": [PART_A]},
    ),
    "gemini, another first part": (
        "gemini",
        {"systemInstruction": {"parts": [{"inlineData": {}}]}, "contents": [PART_A, PART_B, PART_A]},
        {"systemInstruction": {"parts": [{"text": TEXT}, {"inlineData": {}}]}, "contents": [PART_A]},
    ),
    "gemini, cached content": (
        "gemini",
        {"cachedContent": "cachedContents/1", "contents": [PART_A, PART_B, PART_A]},
        None,
    ),
    "gemini, two spellings": (
        "gemini",
        {"systemInstruction": "s", "system_instruction": "s", "contents": [PART_A, PART_B, PART_A]},
        None,
    ),
    "anthropic without a system prompt": (
        "anthropic",
        {"messages": [A, B, A]},
        {"system": TEXT, "messages": [A]},
    ),
    "anthropic": (
        "anthropic",
        {"system": "s", "messages": [A, B, A]},
        {"system": f"{TEXT}\ns", "messages": [A]},
    ),
    "anthropic, a list": (
        "anthropic",
        {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}], "messages": [A, B, A]},
        {
            "system": [
                {"type": "text", "text": f"{TEXT}\n"},
                {"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}},
            ],
            "messages": [A],
        },
    ),
    "converse without a system prompt": (
        "converse",
        {"messages": [LIST_A, LIST_B, LIST_A]},
        {"system": [{"text": TEXT}], "messages": [LIST_A]},
    ),
    "converse": (
        "converse",
        {"system": [{"text": "s"}], "messages": [LIST_A, LIST_B, LIST_A]},
        {"system": [{"text": f"{TEXT}\n"}, {"text": "s"}], "messages": [LIST_A]},
    ),
    "converse, a text": ("converse", {"system": "s", "messages": [LIST_A, LIST_B, LIST_A]}, None),
    "invoke, texts": ("invoke", {"messages": [A, B, A]}, {"system": TEXT, "messages": [A]}),
    "invoke, typed lists": ("invoke", {"messages": [TYPED, B, TYPED]}, {"system": TEXT, "messages": [TYPED]}),
    "invoke, lists": (
        "invoke",
        {"messages": [LIST_A, LIST_B, LIST_A]},
        {"system": [{"text": TEXT}], "messages": [LIST_A]},
    ),
    "invoke, a system prompt says its own shape": (
        "invoke",
        {"system": "s", "messages": [LIST_A, LIST_B, LIST_A]},
        {"system": f"{TEXT}\ns", "messages": [LIST_A]},
    ),
    "invoke, a typed list": (
        "invoke",
        {"system": [{"type": "text", "text": "s"}], "messages": [A, B, A]},
        {"system": [{"type": "text", "text": f"{TEXT}\n"}, {"type": "text", "text": "s"}], "messages": [A]},
    ),
    "invoke, system messages": (
        "invoke",
        {"messages": [SYSTEM, A, B, A]},
        {"messages": [{"role": "system", "content": f"{TEXT}\ns"}, A]},
    ),
    "a system prompt that is null": (
        "anthropic",
        {"system": None, "messages": [A, B, A]},
        {"system": TEXT, "messages": [A]},
    ),
    "an empty one": (
        "anthropic",
        {"system": [], "messages": [A, B, A]},
        {"system": [{"type": "text", "text": TEXT}], "messages": [A]},
    ),
    "a number": ("anthropic", {"system": 5, "messages": [A, B, A]}, None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_text_goes_in_front_of_the_system_prompt(name):
    form, given, expected = CASES[name]
    history = read_history(form, json.dumps(given).encode())
    found = shortened(history, 2, TEXT, CLAUDE)
    assert (found and json.loads(found[0])) == expected
    assert found is None or found[1] == 2


def test_a_model_on_bedrock_whose_system_prompt_is_a_message_gets_one():
    history = read_history("invoke", json.dumps({"messages": [A, B, A]}).encode())
    body, _ = shortened(history, 2, TEXT, MISTRAL)
    assert json.loads(body) == {"messages": [{"role": "system", "content": TEXT}, A]}


def test_the_bytes_of_what_stays_are_those_of_the_client():
    last = b'{"role" : "user","content":"\\u0061 1.0", "n": 1.50e1}'
    body = b'{"max_tokens": 1e2 , "messages": [%s, %s, %s], "odd":  [ 1 ]}' % (
        json.dumps(A).encode(),
        json.dumps(B).encode(),
        last,
    )
    found, _ = shortened(read_history("anthropic", body), 2, TEXT, CLAUDE)
    assert found == b'{"system":"[stored]","max_tokens": 1e2 , "messages": [%s], "odd":  [ 1 ]}' % last
