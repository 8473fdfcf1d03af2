from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.routing.gateway_paths import Direction, bedrock_host_of, direction_of
from wirekey.providers.hosts import provider_hosts
from wirekey.providers.registry import PROVIDERS, owner_of_model

PATHS = [
    ("/api/v1/gemini/v1beta/models/gemini-2.5-flash:generateContent", {}, "gemini"),
    ("/api/v1/openai/v1/chat/completions", {}, "openai"),
    ("/api/v1/bedrock/model/amazon.nova-micro-v1%3A0/converse", {}, "bedrock"),
    ("/api/v1/anthropic/v1/messages", {}, "anthropic"),
    ("/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke", {}, "bedrock"),
    ("/model/anthropic.claude-3-haiku-20240307-v1:0/invoke-with-response-stream", {}, "bedrock"),
    ("/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/converse-stream", {}, "bedrock"),
    ("/v1/messages", {}, "anthropic"),
    ("/v1/messages/count_tokens", {}, "anthropic"),
    ("/v1beta/models", {}, "gemini"),
    ("/v1beta/openai/chat/completions", {}, "gemini"),
    ("/upload/v1beta/files", {}, "gemini"),
    ("/v1/chat/completions", {}, "openai"),
    ("/v1/responses", {}, "openai"),
    ("/v1/embeddings", {}, "openai"),
    ("/v1/models", {}, "openai"),
    ("/v1/models", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ("/v1/models/claude-sonnet-4-5", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ("/v1/models/gpt-4o", {}, "openai"),
    ("/v1/models/gemini-2.5-flash:generateContent", {}, "gemini"),
    ("/v1/models/gemini-2.5-flash:generateContent", {"anthropic-version": "2023-06-01"}, "gemini"),
    ("/v1/models/ft:gpt-4o:org::id", {}, "openai"),
    ("/v1/models/amazon.nova-lite-v1:0", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ("/v1/chat/completions", {"anthropic-version": "2023-06-01"}, "openai"),
    ("/v1/files", {}, "openai"),
    ("/v1/files/file_1/content", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ("/v1/models", {"x-goog-api-client": "google-genai-sdk/3.1.0"}, "gemini"),
    ("/v1/models", {"x-goog-api-key": "k"}, "openai"),
    ("/v1/files/abc", {"x-goog-api-client": "google-genai-sdk/3.1.0"}, "gemini"),
    ("/v1/batches", {"x-goog-api-client": "google-genai-sdk/3.1.0"}, "gemini"),
    ("/v1/chat/completions", {"x-goog-api-client": "google-genai-sdk/3.1.0"}, "openai"),
    ("/upload/v1/files", {}, "gemini"),
    ("/v1alpha/models/m:generateContent", {}, "gemini"),
    ("/messages", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ("/messages/count_tokens", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ("/messages", {}, None),
    ("/chat/completions", {"anthropic-version": "2023-06-01"}, None),
    ("/api/event_logging/v2/batch", {}, "anthropic"),
    ("/api/claude_code/settings", {}, "anthropic"),
    ("/api/claude_code_penguin_mode", {}, "anthropic"),
    ("/api/hello", {}, "anthropic"),
    ("/api/hellos", {}, None),
    ("/api/v1/cohere/v1/chat", {}, None),
    ("/api/v1/auth/tokens", {}, None),
    ("/model/x/delete", {}, None),
    ("/v1", {}, None),
    ("/v2/chat", {}, None),
    ("/", {}, None),
    ("//v1/messages", {}, None),
    ("/v1/skills", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ("/v1/sessions/s1/events", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ("/v1/skills", {}, "openai"),
    ("/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova/converse", {}, "bedrock"),
]


@pytest.mark.parametrize(("path", "headers", "provider"), PATHS)
def test_the_provider_of_a_path(path, headers, provider):
    direction = direction_of(path, headers)
    assert (direction.provider if direction else None) == provider


@pytest.mark.parametrize(
    ("path", "direction"),
    [
        ("/api/v1/gemini/v1beta/models/m:generateContent", Direction("gemini", "/v1beta/models/m:generateContent")),
        ("/api/v1/bedrock/model/a%3A0/converse", Direction("bedrock", "/model/a%3A0/converse")),
        ("/api/v1/openai/v1/chat/completions", Direction("openai", "/v1/chat/completions")),
        ("/api/v1/openai//v1/x", Direction("openai", "//v1/x")),
        ("/v1/chat/completions", Direction("openai", "/v1/chat/completions", by_model=True)),
        ("/api/hello", Direction("anthropic", "/api/hello")),
        ("/v1/models", Direction("openai", "/v1/models", by_model=True, own_models=True)),
        ("/v1/models/gpt-4o", Direction("openai", "/v1/models/gpt-4o", by_model=True, own_models=True)),
        ("/v1beta/models", Direction("gemini", "/v1beta/models", own_models=True)),
        ("/v1beta/openai/models", Direction("gemini", "/v1beta/openai/models")),
        ("/api/v1/openai/v1/models", Direction("openai", "/v1/models")),
        ("/api/v1/openai", None),
        ("/api/v1/openaix/v1", None),
        ("/API/v1/openai/v1", None),
        ("/api/v1/%6fpenai/v1", None),
    ],
)
def test_the_prefix_is_removed_and_the_remainder_is_unchanged(path, direction):
    assert direction_of(path, {}) == direction


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_the_host_of_any_path_is_in_the_table(path, headers):
    direction = direction_of(path, headers)
    assert direction is None or direction.provider in PROVIDERS


EU_AND_US = provider_hosts(["us-east-1", "eu-west-1"])


@pytest.mark.parametrize(
    ("method", "path", "region", "host"),
    [
        ("POST", "/model/a.b/converse", "us-east-1", "bedrock-runtime.us-east-1.amazonaws.com"),
        ("POST", "/model/a.b/converse", "eu-west-1", "bedrock-runtime.eu-west-1.amazonaws.com"),
        ("GET", "/foundation-models", "us-east-1", "bedrock.us-east-1.amazonaws.com"),
        ("POST", "/retrieveAndGenerate", "us-east-1", "bedrock-agent-runtime.us-east-1.amazonaws.com"),
        ("POST", "/model/a.b/converse", "eu-central-1", None),
    ],
)
def test_the_bedrock_host_fits_the_operation_and_an_allowed_region(method, path, region, host):
    assert bedrock_host_of(method, path, region, EU_AND_US) == host


@pytest.mark.parametrize(
    "region", ["", "x", "us-east-1.evil.example", "us-east-1/", "../us-east-1", "us-east-1#", "US-EAST-1"]
)
def test_D4_what_is_no_region_makes_no_host(region):
    with pytest.raises(ValueError, match="no AWS region"):
        bedrock_host_of("POST", "/model/a.b/converse", region, EU_AND_US)


@pytest.mark.parametrize(
    ("model", "is_one"),
    [
        ("gemini-2.5-flash", True),
        ("models/gemini-embedding-001", True),
        ("gpt-4o", False),
        ("not-gemini-2.5", False),
        ("Gemini-2.5", False),
        (None, False),
    ],
)
def test_google_models_are_recognised_by_name(model, is_one):
    assert (owner_of_model(model or "") == "gemini") is is_one


def test_a_path_without_the_version_gets_it():
    direction = direction_of("/messages", {"anthropic-version": "2023-06-01"})
    assert direction == Direction("anthropic", "/v1/messages")
