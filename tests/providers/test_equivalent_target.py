"""A provider serves another provider's format at a path of its own."""

import pytest

from wirekey.providers.registry import PROVIDERS


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
def test_a_provider_serves_another_providers_format_at_a_path_of_its_own(called, provider, line, target):
    method, _, written = line.partition(" ")
    operation = PROVIDERS[called].operations.match_operation(method, written.partition("?")[0], {})
    found = PROVIDERS[called].operations.equivalent_target(written.encode(), operation, provider)
    assert (found.decode() if found else None) == target
    if found:
        other = PROVIDERS[provider].operations.match_operation(method, target.partition("?")[0], {})
        assert other.name == operation.name
