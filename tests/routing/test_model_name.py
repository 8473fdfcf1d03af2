"""Providers and parameters in the name of a model, and where parameters go in each format's request."""

import json
import re

import pytest

from wirekey.providers import PROVIDERS
from wirekey.routing.formats import equivalent_target
from wirekey.routing.model_name import ALLOWED, READERS, ModelName, ModelNameError, is_plain, with_parameters


@pytest.mark.parametrize(
    ("text", "provider", "name", "parameters"),
    [
        ("gpt-4o", None, "gpt-4o", {}),
        ("gemini:gemini-2.5-pro", "gemini", "gemini-2.5-pro", {}),
        ("gemini-2.5-pro?temperature=0.7", None, "gemini-2.5-pro", {"temperature": 0.7}),
        (
            "gemini:gemini-2.5-pro?temperature=1&topP=0.9&maxOutputTokens=100&seed=-3",
            "gemini",
            "gemini-2.5-pro",
            {"temperature": 1, "top_p": 0.9, "max_tokens": 100, "seed": -3},
        ),
        ("gpt-5?effort=high&max_completion_tokens=5", None, "gpt-5", {"reasoning_effort": "high", "max_tokens": 5}),
        ("gpt-5?temperature=0%2E5", None, "gpt-5", {"temperature": 0.5}),
        # Colons of other meaning.
        ("ft:gpt-4o:org::9abc", None, "ft:gpt-4o:org::9abc", {}),
        ("amazon.nova-lite-v1:0", None, "amazon.nova-lite-v1:0", {}),
        ("openai:ft:gpt-4o:org::9abc", "openai", "ft:gpt-4o:org::9abc", {}),
        ("gemini:", None, "gemini:", {}),
    ],
)
def test_a_name_is_read_into_its_parts(text, provider, name, parameters):
    found = ModelName.parse(text)
    assert (found.provider, found.name, dict(found.parameters)) == (provider, name, parameters)
    assert is_plain(text) is not bool(provider or parameters)
    assert ModelName.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("m?", "has a parameter ''; there are temperature, "),
        ("?temperature=1", "no name before them"),
        ("m?tools=x", "has a parameter 'tools'"),
        ("m?temperature=2.1", "must be a number from 0 to 2"),
        ("m?temperature=NaN", "must be a number"),
        ("m?temperature=1e0", "must be a number"),
        ("m?temperature=", "must be a number"),
        ("m?temperature", "must be a number"),
        ("m?temperature=٣", "must be a number"),
        ("m?top_k=0", "must be a whole number from 1"),
        ("m?seed=1.5", "must be a whole number"),
        ("m?reasoning_effort=a%22", "must be one of none, "),
        ("m?seed=1&seed=2", "has the parameter seed twice"),
        ("m?max_tokens=1&maxOutputTokens=2", "has the parameter max_tokens twice"),
    ],
)
def test_a_name_that_cannot_be_followed_is_refused(text, words):
    with pytest.raises(ModelNameError, match=re.escape(words)):
        ModelName.parse(text)


CHAT, RESPONSES = "POST /v1/chat/completions", "POST /v1/responses"
GENERATE, CONVERSE = "POST /v1beta/models/m:generateContent", "POST /model/m/converse"
TABLE = [
    ("openai", CHAT, '{"model":"m"}', "temperature=0.5", '{"temperature":0.5,"model":"m"}'),
    ("openai", CHAT, '{ "temperature" : 1.0 }', "temperature=0.5", '{ "temperature" : 0.5 }'),
    ("openai", CHAT, '{"a":1}', "seed=1&top_p=1", '{"seed":1,"top_p":1,"a":1}'),
    ("openai", CHAT, '{"a":1}', "max_tokens=9", '{"max_completion_tokens":9,"a":1}'),
    ("openai", CHAT, '{"max_tokens":1}', "max_tokens=9", '{"max_tokens":9}'),
    ("gemini", "POST /v1beta/openai/chat/completions", "{}", "max_tokens=9", '{"max_tokens":9}'),
    ("openai", CHAT, '{"a":{"temperature":3}}', "temperature=0", '{"temperature":0,"a":{"temperature":3}}'),
    (
        "openai",
        RESPONSES,
        '{"reasoning":{"summary":"auto"}}',
        "effort=low&max_tokens=5",
        '{"max_output_tokens":5,"reasoning":{"effort":"low","summary":"auto"}}',
    ),
    ("openai", RESPONSES, '{"reasoning":null}', "effort=low", '{"reasoning":{"effort":"low"}}'),
    ("openai", "POST /v1/completions", '{"prompt":"x"}', "max_tokens=5", '{"max_tokens":5,"prompt":"x"}'),
    ("anthropic", "POST /v1/messages", '{"max_tokens":1}', "max_tokens=5&top_k=3", '{"top_k":3,"max_tokens":5}'),
    (
        "gemini",
        GENERATE,
        '{"contents":[]}',
        "temperature=0.7&topP=0.5",
        '{"generationConfig":{"temperature":0.7,"topP":0.5},"contents":[]}',
    ),
    (
        "gemini",
        GENERATE,
        '{"generation_config":{"top_p":1, "max_output_tokens":3}}',
        "topP=0.5&maxTokens=7&top_k=2",
        '{"generation_config":{"topK":2,"top_p":0.5, "max_output_tokens":7}}',
    ),
    (
        "gemini",
        GENERATE,
        '{"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}',
        "thinking_budget=128",
        '{"generationConfig":{"thinkingConfig":{"thinkingBudget":128,"includeThoughts":true}}}',
    ),
    (
        "bedrock",
        CONVERSE,
        '{"messages":[]}',
        "temperature=0.1&top_p=0.2&max_tokens=3",
        '{"inferenceConfig":{"temperature":0.1,"topP":0.2,"maxTokens":3},"messages":[]}',
    ),
]


def operation_of(provider, line):
    method, _, target = line.partition(" ")
    operation = PROVIDERS[provider].match_operation(method, target, {})
    assert operation
    return operation


@pytest.mark.parametrize(("provider", "line", "body", "query", "expected"), TABLE)
def test_parameters_go_where_the_format_has_them_and_nothing_else_changes(provider, line, body, query, expected):
    parameters = ModelName.parse(f"m?{query}").parameters
    changed = with_parameters(provider, operation_of(provider, line), body.encode(), parameters)
    assert changed.decode() == expected
    json.loads(changed)
    assert with_parameters(provider, operation_of(provider, line), changed, parameters) == changed


@pytest.mark.parametrize(
    ("provider", "line", "query"),
    [
        ("openai", "POST /v1/embeddings", "temperature=1"),
        ("openai", "POST /v1/audio/transcriptions", "temperature=1"),
        ("openai", CHAT, "top_k=1"),
        ("anthropic", "POST /v1/messages", "seed=1"),
        ("gemini", "POST /v1beta/models/m:embedContent", "temperature=1"),
        ("bedrock", "POST /model/m/invoke", "temperature=1"),
    ],
)
def test_a_parameter_that_an_operation_does_not_take_is_refused_and_never_dropped(provider, line, query):
    with pytest.raises(ModelNameError, match="does not take"):
        with_parameters(provider, operation_of(provider, line), b"{}", ModelName.parse(f"m?{query}").parameters)


def test_every_parameter_is_taken_somewhere():
    assert {name for names in ALLOWED.values() for name in names} == set(READERS)


@pytest.mark.parametrize(
    ("called", "provider", "line", "target"),
    [
        ("openai", "openai", "POST /v1/chat/completions", "/v1/chat/completions"),
        ("openai", "gemini", "POST /v1/chat/completions?a=%20", "/v1beta/openai/chat/completions?a=%20"),
        ("openai", "gemini", "POST /v1/embeddings", "/v1beta/openai/embeddings"),
        ("openai", "gemini", "GET /v1/models/m", "/v1beta/openai/models/m"),
        ("openai", "gemini", "POST /v1/responses", None),
        ("openai", "gemini", "POST /v1/audio/speech", None),
        ("openai", "anthropic", "POST /v1/chat/completions", None),
        ("gemini", "openai", "POST /v1beta/openai/chat/completions", "/v1/chat/completions"),
        ("gemini", "openai", "POST /v1/openai/embeddings", "/v1/embeddings"),
        ("gemini", "openai", "POST /v1beta/models/m:generateContent", None),
        ("gemini", "openai", "GET /v1beta/models", None),
        ("anthropic", "bedrock", "POST /v1/messages", None),
    ],
)
def test_one_provider_answers_anothers_format_at_a_path_of_its_own(called, provider, line, target):
    method, _, written = line.partition(" ")
    operation = PROVIDERS[called].match_operation(method, written.partition("?")[0], {})
    found = equivalent_target(written.encode(), operation, called, provider)
    assert (found.decode() if found else None) == target
    if found:
        other = PROVIDERS[provider].match_operation(method, target.partition("?")[0], {})
        assert other.name == operation.name
