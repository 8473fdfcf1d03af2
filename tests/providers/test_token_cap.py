"""The cap of output tokens in each provider's shape. No other byte changes."""

import json

import pytest

from wirekey.core.body import Body
from wirekey.core.errors import Refusal
from wirekey.core.operation import Kind, Operation
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits


def with_cap(provider, operation, body, cap):
    edits = RequestEdits(max_tokens=cap)
    return PROVIDERS[provider].operations.edit_request(operation, b"/", "application/json", body, edits).body


def operation(name, model=None):
    return Operation(name, Body.JSON, Kind.INFERENCE, model)


# provider, operation, body, capped at 100
SHAPES = [
    ("openai", "chat.completions", '{"model":"m", "max_tokens": 5000 }', '{"model":"m", "max_tokens": 100 }'),
    ("openai", "chat.completions", '{"max_completion_tokens":101}', '{"max_completion_tokens":100}'),
    (
        "openai",
        "chat.completions",
        '{"max_tokens":1,"max_completion_tokens":9999}',
        '{"max_tokens":1,"max_completion_tokens":100}',
    ),
    ("openai", "chat.completions", '{ "model":"m"}', '{"max_completion_tokens":100, "model":"m"}'),
    ("openai", "chat.completions", "{}", '{"max_completion_tokens":100}'),
    ("openai", "chat.completions", '{"max_tokens":null}', '{"max_tokens":100}'),
    ("openai", "chat.completions", '{"max_tokens":-1}', '{"max_tokens":100}'),
    ("openai", "chat.completions", '{"max_tokens":0}', '{"max_tokens":100}'),
    ("openai", "completions", '{"prompt":"max_tokens: 7"}', '{"max_tokens":100,"prompt":"max_tokens: 7"}'),
    ("openai", "responses", '{"input":"x","max_output_tokens":200}', '{"input":"x","max_output_tokens":100}'),
    ("gemini", "chat.completions", '{"model":"m"}', '{"max_tokens":100,"model":"m"}'),
    ("gemini", "generateContent", '{"contents":[]}', '{"generationConfig":{"maxOutputTokens":100},"contents":[]}'),
    (
        "gemini",
        "streamGenerateContent",
        '{"generationConfig":{"temperature":1}}',
        '{"generationConfig":{"maxOutputTokens":100,"temperature":1}}',
    ),
    (
        "gemini",
        "generateContent",
        '{"generation_config":{"max_output_tokens":101}}',
        '{"generation_config":{"max_output_tokens":100}}',
    ),
    ("gemini", "generateContent", '{"generationConfig":null}', '{"generationConfig":{"maxOutputTokens":100}}'),
    ("gemini", "generateContent", '{"generationConfig":{}}', '{"generationConfig":{"maxOutputTokens":100}}'),
    ("anthropic", "messages", '{"max_tokens":4096,"messages":[]}', '{"max_tokens":100,"messages":[]}'),
    (
        "anthropic",
        "messages.batches.create",
        '{"requests":[{"params":{"max_tokens":5}},{"params":{"max_tokens":500}}]}',
        '{"requests":[{"params":{"max_tokens":5}},{"params":{"max_tokens":100}}]}',
    ),
    (
        "anthropic",
        "messages",
        '{"max_tokens":5, "fallbacks":[{"model":"a"}, {"model":"b","max_tokens":500},{"model":"b","max_tokens":9}]}',
        '{"max_tokens":5, "fallbacks":[{"model":"a"}, {"model":"b","max_tokens":100},{"model":"b","max_tokens":9}]}',
    ),
    ("anthropic", "messages", '{"fallbacks":"default"}', '{"max_tokens":100,"fallbacks":"default"}'),
    (
        "anthropic",
        "messages.batches.create",
        '{"requests":[{"params":{"max_tokens":5}}, {"params":{"max_tokens":5,"fallbacks":[{"max_tokens":101}]}}]}',
        '{"requests":[{"params":{"max_tokens":5}}, {"params":{"max_tokens":5,"fallbacks":[{"max_tokens":100}]}}]}',
    ),
    ("bedrock", "converse", '{"messages":[]}', '{"inferenceConfig":{"maxTokens":100},"messages":[]}'),
    (
        "bedrock",
        "converse-stream",
        '{"inferenceConfig":{"maxTokens":101,"topP":1}}',
        '{"inferenceConfig":{"maxTokens":100,"topP":1}}',
    ),
]


@pytest.mark.parametrize(("provider", "name", "body", "capped"), SHAPES)
def test_a_higher_limit_becomes_the_cap_and_nothing_else_changes(provider, name, body, capped):
    assert with_cap(provider, operation(name), body.encode(), 100).decode() == capped


MODELS = [
    ("anthropic.claude-3-haiku-v1:0", '{"anthropic_version":"b","max_tokens":500}', ("max_tokens",)),
    ("eu.anthropic.claude-sonnet-4-v1:0", '{"messages":[]}', ("max_tokens",)),
    ("anthropic.claude-v2", '{"prompt":"x","max_tokens_to_sample":101}', ("max_tokens_to_sample",)),
    ("amazon.nova-lite-v1:0", '{"messages":[]}', ("inferenceConfig", "max_new_tokens")),
    ("us.amazon.nova-lite-v1:0", '{"inferenceConfig":{"maxTokens":101}}', ("inferenceConfig", "maxTokens")),
    ("amazon.nova-lite-v1:0", '{"inferenceConfig":{"topP":1}}', ("inferenceConfig", "max_new_tokens")),
    ("amazon.titan-text-express-v1", '{"inputText":"x"}', ("textGenerationConfig", "maxTokenCount")),
    ("meta.llama3-8b-instruct-v1:0", '{"prompt":"x"}', ("max_gen_len",)),
    ("mistral.mistral-7b-instruct-v0:2", '{"prompt":"x"}', ("max_tokens",)),
    ("openai.gpt-oss-20b-1:0", '{"messages":[]}', ("max_completion_tokens",)),
    ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.meta.llama3", '{"prompt":"x"}', ("max_gen_len",)),
    ("arn:aws:bedrock:eu-west-1:1:imported-model/abc", '{"prompt":"x","max_gen_len":500}', ("max_gen_len",)),
]


@pytest.mark.parametrize(("model", "body", "place"), MODELS)
def test_invoke_is_capped_where_the_models_body_has_its_limit(model, body, place):
    capped = json.loads(with_cap("bedrock", operation("invoke", model), body.encode(), 100))
    found = capped
    for key in place:
        found = found[key]
    assert found == 100
    facts = PROVIDERS["bedrock"].operations.read_request(
        operation("invoke", model), {}, "", json.dumps(capped).encode()
    )
    assert facts.max_tokens == 100


@pytest.mark.parametrize(
    ("provider", "name", "body"),
    [
        ("openai", "chat.completions", '{"max_tokens" : 100, "x": "\\u00e9"}'),
        ("openai", "embeddings", '{"input":"x"}'),
        ("openai", "images.generations", '{"prompt":"x"}'),
        ("gemini", "countTokens", '{"contents":[]}'),
        ("gemini", "generateContent", ' {"generationConfig":{"maxOutputTokens":7}}\n'),
        ("bedrock", "count-tokens", "{}"),
        ("anthropic", "messages", '{"max_tokens":1}'),
    ],
)
def test_a_request_within_the_cap_or_without_text_output_is_unchanged(provider, name, body):
    assert with_cap(provider, operation(name), body.encode(), 100).decode() == body


def test_an_embedding_by_invoke_is_unchanged():
    body = b'{"inputText":"x"}'
    assert with_cap("bedrock", operation("invoke", "amazon.titan-embed-text-v2:0"), body, 100) == body


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("bedrock", "invoke", "arn:aws:bedrock:eu-west-1:1:imported-model/abc"),
        ("openai", "batches.create", None),
    ],
)
def test_a_request_that_cannot_be_capped_is_refused(provider, name, model):
    with pytest.raises(Refusal) as refused:
        with_cap(provider, operation(name, model), b'{"prompt":"x"}', 100)
    assert (refused.value.status, refused.value.code) == (403, "cannot_cap")


def test_a_limit_under_an_escaped_key_is_capped():
    assert with_cap("openai", operation("completions"), b'{"max\\u005ftokens":500}', 100) == b'{"max\\u005ftokens":100}'
