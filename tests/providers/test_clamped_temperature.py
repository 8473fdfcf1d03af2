"""A temperature above 1 becomes 1 in each provider's shape. No other byte changes."""

import pytest

from wirekey.core.calls.settings import models_pattern
from wirekey.core.errors import Refusal
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

CHAT = "POST /v1/chat/completions"
GENERATE = "POST /v1beta/models/m:generateContent"
SHAPES = [
    (
        "openai",
        CHAT,
        '{"model":"m", "temperature" : 1.7 ,"top_p":1.5}',
        '{"model":"m", "temperature" : 1 ,"top_p":1.5}',
    ),
    ("openai", "POST /v1/responses", '{"temperature":2}', '{"temperature":1}'),
    ("anthropic", "POST /v1/messages", '{"temperature":1.01,"messages":[]}', '{"temperature":1,"messages":[]}'),
    (
        "gemini",
        GENERATE,
        '{"temperature":9,"generationConfig":{"topK":3,"temperature":2}}',
        '{"temperature":9,"generationConfig":{"topK":3,"temperature":1}}',
    ),
    ("gemini", GENERATE, '{"generation_config":{"temperature":2}}', '{"generation_config":{"temperature":1}}'),
    ("gemini", "POST /v1beta/openai/chat/completions", '{"temperature":2}', '{"temperature":1}'),
    (
        "bedrock",
        "POST /model/m/converse",
        '{"inferenceConfig":{"temperature":2}}',
        '{"inferenceConfig":{"temperature":1}}',
    ),
    ("bedrock", "POST /model/m/invoke", '{"temperature":2}', '{"temperature":1}'),
]
SAME = [
    ("openai", CHAT, '{"temperature":1}'),
    ("openai", CHAT, '{"temperature":0.3,"metadata":{"temperature":2}}'),
    ("openai", CHAT, '{"temperature":null}'),
    ("openai", CHAT, "{}"),
    ("gemini", GENERATE, '{"contents":[]}'),
    ("bedrock", "POST /model/m/converse", '{"messages":[]}'),
]


def clamped(provider, line, body, edits=None):
    method, path = line.split()
    operation = PROVIDERS[provider].operations.match_operation(method, path, {})
    edits = edits or RequestEdits(clamp_temperature=True)
    return PROVIDERS[provider].operations.edit_request(
        operation, path.encode(), "application/json", body.encode(), edits
    )


@pytest.mark.parametrize(("provider", "line", "body", "expected"), SHAPES)
def test_a_larger_temperature_becomes_1(provider, line, body, expected):
    assert clamped(provider, line, body).body.decode() == expected


@pytest.mark.parametrize(("provider", "line", "body"), SAME)
def test_any_other_body_is_unchanged(provider, line, body):
    assert clamped(provider, line, body).body == body.encode()


def test_a_parameter_of_the_models_name_is_clamped_too():
    edits = RequestEdits("n", (("temperature", 1.5),), clamp_temperature=True)
    assert clamped("openai", CHAT, '{"model":"m"}', edits).body == b'{"temperature":1,"model":"n"}'


def test_a_temperature_that_is_no_number_is_refused():
    with pytest.raises(Refusal, match="temperature must be a number"):
        clamped("openai", CHAT, '{"temperature":"2"}')


@pytest.mark.parametrize(
    ("model", "matched"),
    [("claude-3-opus", True), ("gemini-1.0-pro", True), ("gemini-2.5-pro", False), ("x-claude-3", False)],
)
def test_the_patterns_name_whole_models(model, matched):
    found = models_pattern(("claude-*", "gemini-1.0-*"))
    assert (found.match(model) is not None) is matched
    assert models_pattern(()) is None
