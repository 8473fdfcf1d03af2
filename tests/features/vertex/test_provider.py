"""Vertex AI's paths, the facts and edits of each of its formats, and its hosts."""

from __future__ import annotations

import json

import pytest

from tests.providers.test_price_facts import read as read_price_facts
from wirekey.core.errors import Refusal
from wirekey.core.operation import Facts, Kind
from wirekey.features.vertex.places import host_in
from wirekey.providers.model_hosts import reason_to_refuse_tunnel
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

VERTEX = PROVIDERS["vertex"]
PLACE = "/v1/projects/my-project/locations/europe-west4"
GOOGLE = f"{PLACE}/publishers/google/models"
CLAUDE = f"{PLACE}/publishers/anthropic/models"
JSON = "application/json"
VERSION = "vertex-2023-10-16"
SONNET = "claude-sonnet-4-5@20250929"

OPERATIONS = (
    ("POST", f"{GOOGLE}/gemini-2.5-pro:generateContent", "generateContent", "gemini-2.5-pro"),
    ("POST", f"{GOOGLE}/gemini-2.5-pro:streamGenerateContent", "streamGenerateContent", "gemini-2.5-pro"),
    ("POST", f"{GOOGLE}/text-embedding@001:predict", "predict", "text-embedding@001"),
    ("POST", f"{GOOGLE}/gemini-2.5-pro:countTokens", "countTokens", "gemini-2.5-pro"),
    ("POST", f"{CLAUDE}/{SONNET}:rawPredict", "rawPredict", SONNET),
    ("POST", f"{CLAUDE}/{SONNET}:streamRawPredict", "streamRawPredict", SONNET),
    ("POST", f"{CLAUDE}/count-tokens:rawPredict", "rawPredict.count_tokens", None),
    ("POST", f"{PLACE}/endpoints/openapi/chat/completions", "chat.completions", None),
    ("GET", "/v1beta1/publishers/google/models", "models.list", None),
    ("GET", "/v1beta1/publishers/google/models/gemini-2.5-pro", "models.get", "gemini-2.5-pro"),
    ("GET", f"{PLACE}/cachedContents", "other", None),
    ("POST", f"{PLACE}/batchPredictionJobs", "other", None),
    # A call of a model is nothing else, however it is written.
    ("POST", f"{GOOGLE}/gemini-2.5-pro:GenerateContent", None, None),
    ("POST", f"{GOOGLE}/gemini-2.5-pro:unheardOf", None, None),
    ("POST", f"{CLAUDE}/{SONNET}:generateContent", None, None),
    ("POST", f"{CLAUDE}/count-tokens:streamRawPredict", None, None),
    ("POST", f"{PLACE}/publishers/meta/models/llama:rawPredict", None, None),
    ("POST", f"{PLACE}/endpoints/openapi/unheard/of", None, None),
    ("POST", f"{PLACE}/endpoints/OpenAPI/chat/completions", None, None),
    ("POST", f"{PLACE}/endpoints/123/chat/completions", None, None),
    ("POST", "/google.cloud.aiplatform.v1.PredictionService/GenerateContent", None, None),
    ("POST", "/v1/publishers/google/models/gemini-2.5-pro:generateContent", None, None),
    ("POST", f"{GOOGLE}/a%2Fb:generateContent", None, None),
    ("POST", f"{GOOGLE}/../gemini-2.5-pro:generateContent", None, None),
    ("POST", f"{GOOGLE.replace('my-project', 'My_Project')}/gemini-2.5-pro:generateContent", None, None),
    ("GET", f"{GOOGLE}/gemini-2.5-pro:generateContent", None, None),
)


@pytest.mark.parametrize(("method", "path", "name", "model"), OPERATIONS, ids=lambda value: str(value)[-60:])
def test_the_operation_of_a_path(method, path, name, model):
    found = VERTEX.operations.match_operation(method, path, {})
    assert (found.name if found else None, found.model if found else None) == (name, model)


def test_a_header_that_replaces_the_method_makes_no_operation():
    assert (
        VERTEX.operations.match_operation("POST", f"{GOOGLE}/m:generateContent", {"x-http-method-override": "GET"})
        is None
    )


HOSTS = (
    ("global", "aiplatform.googleapis.com"),
    ("us", "aiplatform.us.rep.googleapis.com"),
    ("eu", "aiplatform.eu.rep.googleapis.com"),
    ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ("northamerica-northeast1", "northamerica-northeast1-aiplatform.googleapis.com"),
    ("us-east-1", None),
    ("evil.example/", None),
    ("x", None),
    ("", None),
)


@pytest.mark.parametrize(("location", "host"), HOSTS)
def test_the_host_of_a_location(location, host):
    assert host_in(location) == host


def test_the_host_of_a_path_is_that_of_its_location():
    assert VERTEX.hosts.host_of(f"{GOOGLE}/m:generateContent") == "europe-west4-aiplatform.googleapis.com"
    assert VERTEX.hosts.host_of("/v1/publishers/google/models") is None


def read(path, body, query=None):
    operation = VERTEX.operations.match_operation("POST", path, {})
    return VERTEX.operations.read_request(operation, query or {}, JSON, json.dumps(body).encode())


def test_the_facts_of_each_format():
    contents = [{"role": "user", "parts": [{"text": "x"}]}]
    config = {"maxOutputTokens": 9}
    google = read(f"{GOOGLE}/gemini-2.5-pro:streamGenerateContent", {"contents": contents, "generationConfig": config})
    assert google == Facts("gemini-2.5-pro", True, 1, False, False, 0, 9)
    message = {"anthropic_version": VERSION, "max_tokens": 8, "messages": [{"role": "user", "content": "x"}]}
    claude = read(f"{CLAUDE}/{SONNET}:rawPredict", {**message, "system": "y", "tools": [{"name": "t"}]})
    assert claude == Facts(SONNET, False, 1, True, True, 1, 8, ("t",))
    counted = read(f"{CLAUDE}/count-tokens:rawPredict", {**message, "model": SONNET})
    assert (counted.model, counted.message_count) == (SONNET, 1)
    chat = {"model": "google/gemini-2.5-pro", "messages": [{"role": "user", "content": "x"}], "stream": True}
    assert read(f"{PLACE}/endpoints/openapi/chat/completions", chat) == Facts(
        "google/gemini-2.5-pro", True, 1, False, False, 0, asks_usage=False
    )


AMBIGUOUS = {
    "a stream that the path does not name": (f"{CLAUDE}/{SONNET}:rawPredict", {"stream": True, "messages": []}, {}),
    "another model of Claude": (f"{CLAUDE}/{SONNET}:rawPredict", {"model": "claude-opus-4-5", "messages": []}, {}),
    "another model of Google": (f"{GOOGLE}/gemini-2.5-pro:generateContent", {"model": "models/x", "contents": []}, {}),
    "a response that cannot be read": (f"{CLAUDE}/{SONNET}:rawPredict", {"messages": []}, {"alt": "proto"}),
    "another method": (f"{PLACE}/endpoints/openapi/chat/completions", {"messages": []}, {"$httpMethod": "GET"}),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_an_ambiguous_request_is_refused(what):
    path, body, query = AMBIGUOUS[what]
    with pytest.raises(Refusal) as refused:
        read(path, body, query)
    assert refused.value.status == 400


def edited(path, body, **edits):
    operation = VERTEX.operations.match_operation("POST", path, {})
    found = VERTEX.operations.edit_request(
        operation, path.encode(), JSON, json.dumps(body).encode(), RequestEdits(**edits)
    )
    return found.target.decode(), json.loads(found.body)


def test_another_model_is_in_the_path_and_nowhere_else():
    target, body = edited(f"{GOOGLE}/gemini-2.5-pro:generateContent", {"contents": []}, model="gemini-2.5-flash")
    assert (target, body) == (f"{GOOGLE}/gemini-2.5-flash:generateContent", {"contents": []})
    target, body = edited(f"{CLAUDE}/{SONNET}:rawPredict", {"messages": []}, model="claude-haiku-4-5@20251001")
    assert (target, body) == (f"{CLAUDE}/claude-haiku-4-5@20251001:rawPredict", {"messages": []})


def test_the_model_of_a_count_and_of_a_chat_is_in_the_body():
    path = f"{CLAUDE}/count-tokens:rawPredict"
    assert edited(path, {"model": SONNET}, model="claude-haiku-4-5")[1] == {"model": "claude-haiku-4-5"}
    path = f"{PLACE}/endpoints/openapi/chat/completions"
    assert edited(path, {"model": "google/a"}, model="google/b")[1] == {"model": "google/b"}


def test_a_cap_is_set_where_each_format_has_it():
    assert edited(f"{GOOGLE}/m:generateContent", {"contents": []}, max_tokens=5)[1]["generationConfig"] == {
        "maxOutputTokens": 5
    }
    assert edited(f"{CLAUDE}/{SONNET}:rawPredict", {"max_tokens": 50}, max_tokens=5)[1] == {"max_tokens": 5}
    chat = edited(f"{PLACE}/endpoints/openapi/chat/completions", {"max_tokens": 50}, max_tokens=5)[1]
    assert chat == {"max_tokens": 5}


@pytest.mark.parametrize("model", ["../x", "a/b", "a:b", "a b"])
def test_a_name_that_is_no_segment_cannot_be_the_model(model):
    with pytest.raises(Refusal) as refused:
        edited(f"{GOOGLE}/m:generateContent", {"contents": []}, model=model)
    assert refused.value.status == 403


def test_the_gemini_api_has_the_same_conversations():
    for action, expected in (("generateContent", True), ("streamGenerateContent", True), ("predict", False)):
        path = f"{GOOGLE}/gemini-2.5-pro:{action}"
        operation = VERTEX.operations.match_operation("POST", path, {})
        target = VERTEX.operations.equivalent_target(f"{path}?alt=sse".encode(), operation, "gemini")
        assert target == (f"/v1beta/models/gemini-2.5-pro:{action}?alt=sse".encode() if expected else None)


def test_the_cache_of_claude_is_counted_apart_and_that_of_gemini_is_not():
    claudes = ("rawPredict", "streamRawPredict", "rawPredict.count_tokens")
    assert all(VERTEX.prices.counts_cached_apart(name) for name in claudes)
    assert not any(VERTEX.prices.counts_cached_apart(name) for name in ("generateContent", "chat.completions"))


def test_an_error_in_a_stream_has_the_format_of_the_stream():
    refusal = Refusal(504, "upstream_timeout", "Too slow.")
    for path, expected in (
        (f"{GOOGLE}/m:streamGenerateContent", b'"status"'),
        (f"{CLAUDE}/{SONNET}:streamRawPredict", b"event: error"),
        (f"{PLACE}/endpoints/openapi/chat/completions", b'data: {"error"'),
    ):
        operation = VERTEX.operations.match_operation("POST", path, {})
        assert operation.kind is Kind.INFERENCE
        assert expected in VERTEX.operations.stream_error(refusal, operation, "text/event-stream")


def test_a_refused_tunnel_names_the_setting():
    assert "Set providers.vertex" in reason_to_refuse_tunnel("europe-west4-aiplatform.googleapis.com")


def test_a_request_says_what_changes_its_price():
    path = "/v1/projects/p/locations/global/publishers/anthropic/models/claude-fable-5-2:rawPredict"
    _, facts = read_price_facts("vertex", path, {"speed": "fast"})
    assert facts.modifiers == (("speed", "fast"),)
