"""Parameters of a model name, and their place in the request of each format."""

import json

import pytest

from wirekey.core.model_name import READERS, ModelName, ModelNameError
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

CHAT, RESPONSES = "POST /v1/chat/completions", "POST /v1/responses"
GENERATE, CONVERSE = "POST /v1beta/models/m:generateContent", "POST /model/m/converse"
GENERATE_2, CHAT_AT_GEMINI = (
    "POST /v1beta/models/gemini-2.5-pro:generateContent",
    "POST /v1beta/openai/chat/completions",
)
MESSAGES = "POST /v1/messages"
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
    ("anthropic", MESSAGES, '{"max_tokens":1}', "max_tokens=5&top_k=3", '{"top_k":3,"max_tokens":5}'),
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
    # Effort and budget exclude each other. Gemini 1 and 2 know budgets only, later models levels.
    ("gemini", GENERATE_2, "{}", "effort=low", '{"generationConfig":{"thinkingConfig":{"thinkingBudget":512}}}'),
    ("gemini", GENERATE_2, "{}", "effort=medium", '{"generationConfig":{"thinkingConfig":{"thinkingBudget":2048}}}'),
    ("gemini", GENERATE_2, "{}", "effort=high", '{"generationConfig":{"thinkingConfig":{"thinkingBudget":-1}}}'),
    (
        "gemini",
        GENERATE_2,
        '{"generation_config":{"thinking_config":{"thinking_level":"low"}}}',
        "effort=high&thinking_budget=7",
        '{"generation_config":{"thinking_config":{"thinkingBudget":7}}}',
    ),
    (
        "gemini",
        GENERATE,
        '{"generationConfig":{"thinkingConfig":{"thinkingBudget":5}}}',
        "reasoningEffort=none",
        '{"generationConfig":{"thinkingConfig":{"thinkingLevel":"minimal"}}}',
    ),
    (
        "gemini",
        CHAT_AT_GEMINI,
        '{"extra_body":{"google":{"thinking_config":{"thinking_budget":5,"include_thoughts":true}}},"reasoning_effort":"low"}',
        "thinking_budget=9&effort=high",
        '{"extra_body":{"google":{"thinking_config":{"thinking_budget":9,"include_thoughts":true}}}}',
    ),
    (
        "gemini",
        CHAT_AT_GEMINI,
        '{"extra_body":{"google":{"thinking_config":{"thinking_budget":5,"include_thoughts":true}}}}',
        "effort=high",
        '{"reasoning_effort":"high","extra_body":{"google":{"thinking_config":{"include_thoughts":true}}}}',
    ),
    (
        "gemini",
        CHAT_AT_GEMINI,
        '{"extra_body":{"google":{"thinking_config":{"thinking_level":"low"}}},"google":{"thinking_config":{"thinking_budget":1}}}',
        "thinking_budget=9",
        '{"extra_body":{"google":{"thinking_config":{"thinking_budget":9}}},"google":{"thinking_config":{}}}',
    ),
    ("openai", CHAT, "{}", "verbosity=low", '{"verbosity":"low"}'),
    ("openai", RESPONSES, "{}", "verbosity=high", '{"text":{"verbosity":"high"}}'),
    (
        "anthropic",
        MESSAGES,
        '{"max_tokens":1}',
        "effort=high&thinking_budget=2000",
        '{"output_config":{"effort":"high"},"thinking":{"type":"enabled","budget_tokens":2000},"max_tokens":1}',
    ),
    ("anthropic", MESSAGES, "{}", "thinking_budget=0", '{"thinking":{"type":"disabled"}}'),
    ("anthropic", MESSAGES, "{}", "thinking_budget=-1", '{"thinking":{"type":"adaptive"}}'),
    (
        "bedrock",
        CONVERSE,
        '{"messages":[]}',
        "temperature=0.1&top_p=0.2&max_tokens=3",
        '{"inferenceConfig":{"temperature":0.1,"topP":0.2,"maxTokens":3},"messages":[]}',
    ),
]


def with_parameters(provider, operation, body, parameters):
    edits = RequestEdits(parameters=parameters)
    return PROVIDERS[provider].operations.edit_request(operation, b"/", "application/json", body, edits).body


def operation_of(provider, line):
    method, _, target = line.partition(" ")
    operation = PROVIDERS[provider].operations.match_operation(method, target, {})
    assert operation
    return operation


@pytest.mark.parametrize(("provider", "line", "body", "query", "expected"), TABLE)
def test_parameters_are_set_where_the_format_has_them_and_nothing_else_changes(provider, line, body, query, expected):
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
        ("openai", CHAT, "thinking_budget=1"),
        ("anthropic", MESSAGES, "seed=1"),
        ("gemini", "POST /v1beta/models/m:embedContent", "temperature=1"),
        ("bedrock", "POST /model/m/invoke", "temperature=1"),
    ],
)
def test_a_parameter_that_an_operation_does_not_accept_is_refused_and_never_dropped(provider, line, query):
    with pytest.raises(ModelNameError, match="does not take"):
        with_parameters(provider, operation_of(provider, line), b"{}", ModelName.parse(f"m?{query}").parameters)


def test_a_chat_for_a_model_of_google_has_a_thinking_budget():
    edits = RequestEdits(parameters=(("thinking_budget", 9),), google_reads=True)
    edited = PROVIDERS["openai"].operations.edit_request(
        operation_of("openai", CHAT), b"/", "application/json", b"{}", edits
    )
    assert edited.body == b'{"extra_body":{"google":{"thinking_config":{"thinking_budget":9}}}}'


def test_every_parameter_is_accepted_by_some_operation():
    taken = {
        name for provider in PROVIDERS.values() for names in provider.operations.parameters.values() for name in names
    }
    assert taken == set(READERS)
