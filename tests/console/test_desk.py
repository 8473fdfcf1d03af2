"""Which answer a request gets, from tables."""

from __future__ import annotations

import json

import pytest

from wirekey.console.gateway_paths import provider_of
from wirekey.console.request import request_of
from wirekey.providers import PROVIDERS

GATEWAY_PATHS = [
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
    ("/v1/models/claude-sonnet-4-5", {"Anthropic-Version": "2023-06-01"}, "anthropic"),
    ("/v1/models/gpt-4o", {}, "openai"),
    ("/v1/models/gemini-2.5-flash:generateContent", {}, "gemini"),
    ("/v1/chat/completions", {"anthropic-version": "2023-06-01"}, "openai"),
    ("/api/v1/mistral/v1/chat", {}, None),
    ("/api/v1/auth/tokens", {}, None),
    ("/model/x/delete", {}, None),
    ("/v1", {}, None),
    ("/v2/chat", {}, None),
    ("/", {}, None),
    ("//v1/messages", {}, None),
]


def asked(method, target, headers=()):
    return request_of(method, target, tuple(dict(headers).items()), "127.0.0.1")


@pytest.mark.parametrize(("path", "headers", "provider"), GATEWAY_PATHS)
def test_a_path_of_a_provider_is_answered_in_its_shape_on_the_gateway_only(office, path, headers, provider):
    assert provider_of(asked("POST", path, headers)) == provider
    elsewhere = office.desk().answer(asked("POST", path, headers))
    assert elsewhere.status == 404
    answer = office.desk(gateway=True).answer(asked("POST", path + "?key=k", headers))
    if provider is None:
        assert answer.status == 404
        return
    assert answer.status == 501
    found = dict(answer.headers)
    shape = PROVIDERS[provider].phrase
    assert "HTTPS_PROXY works today" in answer.body.decode()
    assert found["content-length"] == str(len(answer.body))
    assert len(found["x-wirekey-request-id"]) == 36
    if provider in ("openai", "anthropic"):
        assert found["x-should-retry"] == "false"
    assert shape.__self__.name == provider


def test_a_path_that_only_resembles_ours_is_nobodys(office):
    for path in ("/health/", "//health", "/Health", "/health%20", "/api/v1/auth/token/", "/api/v1/auth/../health"):
        answer = office.desk().answer(asked("GET", path))
        assert (answer.status, json.loads(answer.body)["error"]) == (404, "not_found")


def test_a_query_changes_nothing(office):
    assert office.desk().answer(asked("GET", "/health?verbose=1")).status == 200


def test_health_needs_no_part_to_be_ready(office):
    office.parts = dict.fromkeys(office.parts, "broken")
    answer = office.desk().answer(asked("GET", "/health"))
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


def test_ready_names_each_part(office):
    answer = office.desk().answer(asked("GET", "/ready"))
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "status": "ready",
        "parts": {name: {"ready": True} for name in ("listeners", "audit", "ca", "policy")},
    }


@pytest.mark.parametrize("part", ["listeners", "audit", "ca", "policy"])
def test_one_part_that_is_not_ready_is_enough_for_503_and_says_why(office, part):
    office.parts[part] = "is broken"
    answer = office.desk().answer(asked("GET", "/ready"))
    content = json.loads(answer.body)
    assert (answer.status, content["status"]) == (503, "not ready")
    assert content["parts"].pop(part) == {"ready": False, "reason": "is broken"}
    assert all(other == {"ready": True} for other in content["parts"].values())


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/auth/token"), ("GET", "/.well-known/jwks.json")])
def test_where_another_issuer_gives_out_tokens_there_are_none_here(office, method, path):
    office.endpoint = None
    answer = office.desk().answer(asked(method, path))
    assert answer.status == 404
    assert "identity.jwt.jwks_url" in json.loads(answer.body)["error_description"]


@pytest.mark.parametrize("body", [None, b"x" * 20_000, b"secret"])
def test_a_request_shows_nothing_of_its_headers_and_body(body):
    from dataclasses import replace

    request = replace(asked("POST", "/x?key=secret", {"authorization": "secret"}), body=body)
    assert "secret" not in repr(request)
