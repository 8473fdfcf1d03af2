"""Code Assist as Google's own programs call it: operations, hosts, the facts and edits of the envelope, responses."""

from __future__ import annotations

import json

import pytest

from tests.policy.test_default_policy import check_kinds, policy
from wirekey.core.errors import Refusal
from wirekey.core.operation import Facts, Kind
from wirekey.features.google_accounts.provider.requests import COUNT, GENERATE, ROUTES, STREAM
from wirekey.providers.model_hosts import reason_to_refuse_tunnel
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

__all__ = ["policy"]

PROVIDER = PROVIDERS["code_assist"]
AT = "/v1internal"
JSON = "application/json"
CODE_ASSIST, TOKENS = "cloudcode-pa.googleapis.com", "oauth2.googleapis.com"

OPERATIONS = (
    ("POST", f"{AT}:generateContent", GENERATE, "inference", CODE_ASSIST),
    ("POST", f"{AT}:streamGenerateContent", STREAM, "inference", CODE_ASSIST),
    ("POST", f"{AT}:countTokens", COUNT, "inference", CODE_ASSIST),
    ("POST", f"{AT}:loadCodeAssist", "codeAssist.load", "login", CODE_ASSIST),
    ("POST", f"{AT}:onboardUser", "codeAssist.onboard", "login", CODE_ASSIST),
    ("GET", f"{AT}/operations/abc-1", "codeAssist.operation", "login", CODE_ASSIST),
    ("POST", f"{AT}:retrieveUserQuota", "codeAssist.quota", "listing", CODE_ASSIST),
    ("POST", f"{AT}:listExperiments", "codeAssist.experiments", "listing", CODE_ASSIST),
    ("POST", "/token", "oauth.token", "login", TOKENS),
    ("POST", "/tokeninfo", "oauth.tokeninfo", "login", TOKENS),
    ("POST", f"{AT}:unheardOf", "other", "other", CODE_ASSIST),
    # A call of a model is nothing else, however it is written. The token server has no other operation.
    ("POST", f"{AT}:GenerateContent", None, None, CODE_ASSIST),
    ("POST", f"{AT}:generateContentNow", None, None, CODE_ASSIST),
    ("POST", f"{AT}:generateContent/", None, None, CODE_ASSIST),
    ("GET", f"{AT}:generateContent", None, None, CODE_ASSIST),
    ("POST", f"{AT}/models/gemini-2.5-pro:generateContent", None, None, CODE_ASSIST),
    ("POST", f"{AT}x:streamGenerateContent", None, None, CODE_ASSIST),
    ("GET", f"{AT}/operations/../x", None, None, CODE_ASSIST),
    ("GET", "/token", None, None, TOKENS),
    ("GET", "/tokeninfo", None, None, TOKENS),
    ("POST", "/revoke", None, None, None),
    ("POST", "/token/", None, None, None),
    ("POST", "/v1/models", None, None, None),
)


@pytest.mark.parametrize(("method", "path", "name", "kind", "host"), OPERATIONS, ids=lambda value: str(value)[-40:])
def test_the_operation_and_the_host_of_a_path(method, path, name, kind, host):
    found = PROVIDER.operations.match_operation(method, path, {})
    assert (found.name if found else None, found.kind if found else None) == (name, kind and Kind(kind))
    assert PROVIDER.hosts.host_of(path) == host
    assert not found or found.stream is (name == STREAM)


def test_a_header_that_replaces_the_method_makes_no_operation():
    assert (
        PROVIDER.operations.match_operation("POST", f"{AT}:generateContent", {"x-http-method-override": "GET"}) is None
    )


def read(action, body, query=None):
    operation = PROVIDER.operations.match_operation("POST", f"{AT}:{action}", {})
    return PROVIDER.operations.read_request(operation, query or {}, JSON, json.dumps(body).encode())


CONTENTS = [{"role": "user", "parts": [{"text": "x"}]}]


def test_the_facts_are_those_of_the_request_in_the_envelope():
    request = {
        "contents": CONTENTS,
        "systemInstruction": {"parts": [{"text": "y"}]},
        "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}],
        "generationConfig": {"maxOutputTokens": 9},
    }
    found = read("streamGenerateContent", {"model": "gemini-2.5-pro", "project": "p", "request": request})
    assert found == Facts("gemini-2.5-pro", True, 1, True, True, 2, 9, ("f", "g"))
    counted = read("countTokens", {"request": {"model": "models/gemini-2.5-pro", "contents": CONTENTS}})
    assert (counted.model, counted.message_count) == ("gemini-2.5-pro", 1)


AMBIGUOUS = {
    "no request": ({"model": "m"}, {}),
    "a request that is no object": ({"model": "m", "request": "x"}, {}),
    "a model that is no text": ({"model": ["m"], "request": {"contents": CONTENTS}}, {}),
    "two spellings of the model": ({"model": "m", "MODEL": "n", "request": {"contents": CONTENTS}}, {}),
    "two spellings of the tools": ({"model": "m", "request": {"contents": [], "tools": [], "Tools": []}}, {}),
    "a response that cannot be read": ({"model": "m", "request": {"contents": CONTENTS}}, {"alt": "proto"}),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_an_ambiguous_request_is_refused(what):
    body, query = AMBIGUOUS[what]
    with pytest.raises(Refusal) as refused:
        read("generateContent", body, query)
    assert refused.value.status == 400


def edited(action, body, **edits):
    path = f"{AT}:{action}"
    operation = PROVIDER.operations.match_operation("POST", path, {})
    found = PROVIDER.operations.edit_request(operation, path.encode(), JSON, body, RequestEdits(**edits))
    assert found.target == path.encode()
    return found.body


def test_an_edit_changes_its_value_and_no_other_byte():
    body = b'{ "model" :"old", "request":{"contents":[ {"model":"old"}], "generationConfig":{"temperature": 1.50} } }'
    assert edited("generateContent", body, model="new") == body.replace(b'"old"', b'"new"', 1)
    assert edited("generateContent", body, model="old") == body
    cooler = edited("generateContent", body, parameters=(("temperature", 0.5),))
    assert json.loads(cooler)["request"]["generationConfig"] == {"temperature": 0.5}
    capped = edited("streamGenerateContent", body, max_tokens=5)
    assert json.loads(capped)["request"]["generationConfig"] == {"temperature": 1.5, "maxOutputTokens": 5}
    clamped = edited("generateContent", body, clamp_temperature=True)
    assert json.loads(clamped)["request"]["generationConfig"] == {"temperature": 1}


def test_the_model_of_a_count_is_in_the_request():
    body = b'{"request":{"model":"models/old","contents":[]}}'
    assert edited("countTokens", body, model="new", max_tokens=5) == body.replace(b"old", b"new")


@pytest.mark.parametrize("model", ["../x", "a/b", "a b", ""])
def test_a_name_that_no_model_of_google_has_is_refused(model):
    with pytest.raises(Refusal) as refused:
        edited("generateContent", b'{"model":"old","request":{}}', model=model)
    assert refused.value.status == 403


PART = {
    "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2},
    "modelVersion": "gemini-2.5-pro",
}
WHOLE = json.dumps({"response": PART, "traceId": "t"}).encode()
ERROR = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}
RESPONSES = {
    "whole": ("generateContent", 200, JSON, WHOLE),
    "events": ("streamGenerateContent", 200, "text/event-stream", b"data: " + WHOLE + b"\r\n\r\n"),
    "array": ("streamGenerateContent", 200, JSON, b"[" + WHOLE + b"]"),
}


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("kind", RESPONSES)
def test_the_usage_is_read_from_the_envelope(kind, size):
    action, status, content_type, body = RESPONSES[kind]
    operation = PROVIDER.operations.match_operation("POST", f"{AT}:{action}", {})
    reader = PROVIDER.operations.response_reader(operation, Facts(), status, content_type)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    reader.end()
    usage = reader.usage
    assert (usage.input_tokens, usage.output_tokens, usage.finish_reason) == (7, 2, "STOP")
    assert (usage.model, reader.finished) == ("gemini-2.5-pro", True)


def test_an_error_has_its_type():
    operation = PROVIDER.operations.match_operation("POST", f"{AT}:generateContent", {})
    for body in (ERROR, [ERROR]):
        reader = PROVIDER.operations.response_reader(operation, Facts(), 429, JSON)
        reader.feed(json.dumps(body).encode())
        reader.end()
        assert reader.error_type == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("path", [f"{AT}:countTokens", f"{AT}:loadCodeAssist", "/token"])
def test_nothing_is_read_of_other_responses(path):
    operation = PROVIDER.operations.match_operation("POST", path, {})
    assert PROVIDER.operations.response_reader(operation, Facts(), 200, JSON) is None


def test_the_default_policy_decides_each_operation_by_its_kind(policy):
    check_kinds(policy, {(operation.name, operation.kind) for operation in ROUTES})


def test_a_refused_tunnel_names_the_setting():
    assert "Set providers.code_assist" in reason_to_refuse_tunnel("cloudcode-pa.googleapis.com")
