"""Custom providers as values: their paths, the model in a deployment's path, and edits for other providers."""

from __future__ import annotations

import json

import pytest

from wirekey.core.body import Body
from wirekey.core.operation import Kind, Operation
from wirekey.features.custom_providers.provider import CustomTraits, custom_provider
from wirekey.providers.registry import PROVIDERS, accepts_format, answered_as, family_of, register
from wirekey.providers.request_edits import RequestEdits

AZURE = custom_provider(
    CustomTraits("azure", ("corp.openai.azure.com",), "openai.chat", "api-key", "/openai", deployments=True)
)
ROUTER = custom_provider(CustomTraits("openrouter", ("openrouter.ai",), "openai.chat", path="/api"))
CLAUDE = custom_provider(CustomTraits("claude", ("claude.corp.example",), "anthropic", "x-api-key"))
GEMINI = custom_provider(CustomTraits("google-like", ("g.corp.example",), "gemini", "x-goog-api-key"))
JSON = "application/json"
VERSION = b"?api-version=2024-10-21"

PATHS = (
    (AZURE, "POST", "/openai/deployments/gpt-4o/chat/completions", "chat.completions", "gpt-4o"),
    (AZURE, "POST", "/openai/deployments/d-1/embeddings", "embeddings", "d-1"),
    (AZURE, "POST", "/openai/deployments/dall-e-3/images/generations", "images.generations", "dall-e-3"),
    (AZURE, "POST", "/openai/v1/chat/completions", "chat.completions", None),
    (AZURE, "POST", "/openai/v1/responses", "responses", None),
    (AZURE, "POST", "/openai/responses", "responses", None),
    (AZURE, "GET", "/openai/files", "files.list", None),
    (AZURE, "GET", "/openai/v1/unheard/of", "other", None),
    (AZURE, "POST", "/openai/deployments/gpt-4o/files", None, None),
    (AZURE, "POST", "/openai/deployments/gpt-4o/unheard/of", None, None),
    (AZURE, "POST", "/openai/deployments//chat/completions", None, None),
    (AZURE, "POST", "/openai/deployments/a%2Fb/chat/completions", None, None),
    (AZURE, "POST", "/openai/deployments/../chat/completions", None, None),
    (AZURE, "POST", "/openai/Deployments/gpt-4o/chat/completions", None, None),
    (ROUTER, "POST", "/api/v1/chat/completions", "chat.completions", None),
    (ROUTER, "POST", "/api/deployments/gpt-4o/chat/completions", "other", None),
    (CLAUDE, "POST", "/v1/messages", "messages", None),
    (GEMINI, "POST", "/v1beta/models/gemini-2.5-pro:generateContent", "generateContent", "gemini-2.5-pro"),
)


@pytest.mark.parametrize(
    ("provider", "method", "path", "name", "model"), PATHS, ids=[f"{row[0].name} {row[2]}" for row in PATHS]
)
def test_the_operation_of_a_path(provider, method, path, name, model):
    plain = provider.operations.plain_target(path)
    assert provider.operations.plain_target(plain) == plain
    found = provider.operations.match_operation(method, plain, {})
    assert (found.name if found else None, found.model if found else None) == (name, model)


def test_a_prefix_is_removed_only_as_whole_segments():
    assert AZURE.operations.plain_target("/openai/v1/models?x=1") == "/v1/models?x=1"
    assert AZURE.operations.plain_target("/openaiish/v1/models") == "/openaiish/v1/models"
    assert AZURE.operations.plain_target("/v1/models") == "/v1/models"


TARGETS = (
    ("azure", b"/deployments/gpt-4o/chat/completions" + VERSION, b"/deployments/gpt-4o/chat/completions" + VERSION),
    ("openai", b"/deployments/gpt-4o/chat/completions" + VERSION, b"/v1/chat/completions"),
    ("openai", b"/deployments/gpt-4o/chat/completions" + VERSION + b"&a=1", b"/v1/chat/completions?a=1"),
    ("openai", b"/deployments/gpt-4o/chat/completions?a=1&api-version=1", b"/v1/chat/completions?a=1"),
    ("openai", b"/v1/chat/completions", b"/v1/chat/completions"),
    ("gemini", b"/deployments/gpt-4o/chat/completions" + VERSION, b"/v1beta/openai/chat/completions"),
    ("anthropic", b"/v1/chat/completions", None),
)
CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)


@pytest.mark.parametrize(("provider", "target", "expected"), TARGETS, ids=lambda value: str(value)[:60])
def test_the_target_at_another_provider(provider, target, expected):
    assert AZURE.operations.equivalent_target(target, CHAT, provider) == expected


def at_deployment(model="gpt-4o"):
    return Operation("chat.completions", Body.JSON, Kind.INFERENCE, model)


def edited(body, edits, operation=None):
    target = b"/deployments/gpt-4o/chat/completions" + VERSION
    return AZURE.operations.edit_request(operation or at_deployment(), target, JSON, json.dumps(body).encode(), edits)


def test_another_model_is_another_deployment():
    found = edited({"messages": []}, RequestEdits(model="gpt-4o-mini"))
    assert found.target == b"/deployments/gpt-4o-mini/chat/completions" + VERSION
    assert (found.model_changed, json.loads(found.body)["model"]) == (True, "gpt-4o-mini")


def test_without_edits_no_byte_differs():
    body = b'{ "messages": [ ] }'
    found = AZURE.operations.edit_request(
        at_deployment(), b"/deployments/gpt-4o/chat/completions", JSON, body, RequestEdits()
    )
    assert (found.body, found.target, found.model_changed) == (body, b"/deployments/gpt-4o/chat/completions", False)


@pytest.mark.parametrize("body", [{"messages": []}, {"model": "ignored", "messages": []}], ids=["without", "with"])
def test_at_openai_the_body_names_the_model_of_the_deployment(body):
    found = edited(body, RequestEdits(provider="openai"))
    assert (found.target, json.loads(found.body)["model"]) == (b"/v1/chat/completions", "gpt-4o")
    assert found.model_changed is False


def test_a_stream_is_asked_for_its_usage_at_each_provider_of_the_family():
    for provider in (None, "azure", "openai"):
        found = edited({"messages": [], "stream": True}, RequestEdits(include_usage=True, provider=provider))
        assert json.loads(found.body)["stream_options"] == {"include_usage": True}


def test_the_model_of_the_body_is_another_model_of_the_request():
    body = b'{"model": "gpt-4", "messages": [{"role": "user", "content": "x"}]}'
    facts = AZURE.operations.read_request(at_deployment("d-1"), {}, JSON, body)
    assert (facts.model, facts.other_models, facts.message_count) == ("d-1", ("gpt-4",), 1)
    same = AZURE.operations.read_request(at_deployment("gpt-4"), {}, JSON, body)
    assert (same.model, same.other_models) == ("gpt-4", ())


def test_each_sends_its_key_in_its_own_header():
    headers = [provider.credentials.header("k", "/") for provider in (AZURE, ROUTER, CLAUDE, GEMINI)]
    assert headers == [
        ("api-key", "k"),
        ("authorization", "Bearer k"),
        ("x-api-key", "k"),
        ("x-goog-api-key", "k"),
    ]


def test_no_name_of_a_model_leads_to_a_custom_provider():
    assert not any(provider.formats.owns_model("gemini-2.5-pro") for provider in (AZURE, ROUTER, CLAUDE, GEMINI))


def test_registered_providers_answer_in_their_family(monkeypatch):
    monkeypatch.setattr("wirekey.providers.registry.PROVIDERS", dict(PROVIDERS))
    made = CustomTraits("one", ("one.example",), "openai.chat"), CustomTraits("two", ("t.example",), "gemini")
    register(map(custom_provider, made))
    assert (family_of("one"), family_of("openai"), family_of("two")) == ("openai", "openai", "gemini")
    assert (answered_as("openai", "one"), answered_as("one", "one"), answered_as("one", "two")) == (
        "openai",
        "one",
        "gemini",
    )
    assert accepts_format("one", "openai")
    assert accepts_format("two", "one")  # Gemini answers OpenAI's format, too
    assert not accepts_format("anthropic", "one")


def test_a_listed_model_belongs_to_the_custom_provider():
    assert ROUTER.models.read_model({"id": "x/y"}).provider == "openrouter"
    assert AZURE.models.targets == ("/v1/models",)
