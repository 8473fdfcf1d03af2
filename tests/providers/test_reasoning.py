"""How long a model may think, as requests of each format say it."""

import json

import pytest

from wirekey.core.body import Body
from wirekey.core.operation import Kind, Operation
from wirekey.providers.reasoning import most_reasoning
from wirekey.providers.registry import PROVIDERS

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
MESSAGES = {"messages": [{"role": "user", "content": "Hello."}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hello."}]}]}
CONVERSATION = {"messages": [{"role": "user", "content": [{"text": "Hello."}]}]}
OPERATIONS = {
    "chat": ("openai", Operation("chat.completions", Body.JSON, Kind.INFERENCE), MESSAGES | {"model": "gpt-5"}),
    "responses": ("openai", Operation("responses", Body.JSON, Kind.INFERENCE), {"input": "Hello.", "model": "gpt-5"}),
    "messages": (
        "anthropic",
        Operation("messages", Body.JSON, Kind.INFERENCE),
        MESSAGES | {"model": "claude-opus-4-5"},
    ),
    "gemini": ("gemini", Operation("generateContent", Body.JSON, Kind.INFERENCE, "gemini-2.5-pro"), CONTENTS),
    "converse": ("bedrock", Operation("converse", Body.JSON, Kind.INFERENCE, CLAUDE), CONVERSATION),
    "invoke": ("bedrock", Operation("invoke", Body.JSON, Kind.INFERENCE, CLAUDE), MESSAGES | {"max_tokens": 9}),
}


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("chat", {"reasoning_effort": "high"}, "high"),
        ("chat", {"reasoning": {"max_tokens": 2000}}, 2000),
        ("chat", {"reasoning_effort": "a text of the client"}, "unknown"),
        ("chat", {}, None),
        ("chat", {"reasoning_effort": ["high"]}, None),
        ("chat", {"reasoning_effort": None}, None),
        ("responses", {"reasoning": {"effort": "low", "summary": "auto"}}, "low"),
        ("responses", {"reasoning": {"summary": "auto"}}, None),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 4000}}, 4000),
        ("messages", {"thinking": {"type": "adaptive"}}, None),
        ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 512}}}, 512),
        ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, 0),
        ("gemini", {"generationConfig": {"thinking_config": {"thinking_level": "HIGH"}}}, "high"),
        ("gemini", {"generationConfig": {}}, None),
        ("converse", {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}, 1024),
        ("converse", {}, None),
        ("invoke", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, 1024),
    ],
)
def test_the_effort_or_the_limit_is_read(name, asked, expected):
    provider, operation, body = OPERATIONS[name]
    data = json.dumps(body | asked).encode()
    facts = PROVIDERS[provider].operations.read_request(operation, {}, "application/json", data)
    assert facts.reasoning == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (None, None),
        (-1, None),
        (0, 0),
        (500, 500),
        (5000, 1000),
        ("none", 0),
        ("low", 200),
        ("high", 800),
        ("unknown", 1000),
    ],
)
def test_an_effort_takes_a_share_of_the_largest_output(stated, expected):
    assert most_reasoning(stated, 1000) == expected
