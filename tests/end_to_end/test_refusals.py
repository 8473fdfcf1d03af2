"""Wirekey's own errors, in each provider's shape: no key, too large, compressed, too many headers."""

from __future__ import annotations

import gzip
import json

import anthropic
import botocore.exceptions
import openai
import pytest
from google.genai import errors

from tests.end_to_end.sdk_calls import CALLS, Way
from tests.end_to_end.stream_formats import FORMATS, PLACEHOLDERS, RawWay
from tests.running import Wirekey
from wirekey.call import new_call_id
from wirekey.providers import PROVIDERS

LIMIT = 100_000
ONE_OF_EACH = {
    "openai": "openai-chat",
    "gemini": "gemini-sse",
    "gemini's openai half": "gemini-openai",
    "anthropic": "anthropic",
    "bedrock": "bedrock-converse",
}


@pytest.fixture(scope="module")
def keyless(tmp_path_factory, simulator) -> Wirekey:
    """A Wirekey without any key, with narrow limits."""
    configuration = {
        "upstream_ca_file": str(simulator.ca_file),
        "providers": {name: {"upstream_url": simulator.url} for name in PROVIDERS},
        "limits": {"body_bytes": LIMIT, "headers": 40},
    }
    proxy = Wirekey(tmp_path_factory.mktemp("keyless"), configuration)
    proxy.token = proxy.add_agent("alice")
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def way(keyless) -> RawWay:
    return RawWay(keyless.root, proxy=keyless.proxy_url("alice", keyless.token))


def sentence(provider: str, operation_path: str, body: bytes) -> str:
    """Return the message from where this provider's SDKs read it; fail if the shape is wrong."""
    content = json.loads(body)
    if provider == "bedrock":
        return content["message"]
    error = content["error"]
    if provider == "anthropic":
        assert content["type"] == "error"
        assert isinstance(error["type"], str)
    elif provider == "gemini":
        assert isinstance(error["code"], int)
        assert isinstance(error["status"], str)
    else:
        assert {"message", "type", "param", "code"} <= error.keys()
    return error["message"]


@pytest.mark.parametrize("status", [503, 413, 415, 431])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_refusal_has_the_providers_shape_and_a_fix(name, status, way, keyless, simulator):
    wanted, began = FORMATS[ONE_OF_EACH[name]], new_call_id()
    content, headers = json.dumps(wanted.body).encode(), {"content-type": "application/json"}
    says = {
        503: [PROVIDERS[wanted.provider].key_setting, f"providers.{wanted.provider}"],
        413: ["limits.body_bytes", str(LIMIT)],
        415: ["Content-Encoding"],
        431: ["limits.headers"],
    }[status]
    if status == 413:
        content = json.dumps({**wanted.body, "padding": "x" * LIMIT}).encode()
    elif status == 415:
        content, headers = gzip.compress(content), {**headers, "content-encoding": "gzip"}
    elif status == 431:
        headers |= {f"x-many-{number}": "1" for number in range(40)}
    response = way.call(wanted.provider, "POST", wanted.path, content=content, headers=headers)
    assert response.status_code == status
    message = sentence(wanted.provider, wanted.path, response.content)
    for word in says:
        assert word in message
    event = keyless.finished_event(began)
    assert response.headers["x-wirekey-request-id"] == event["id"]
    assert (event["outcome"], event["status"], event["policy_result"]) == ("denied", status, "deny")
    assert simulator.seen == []


def test_a_body_without_a_length_is_refused_once_it_is_too_large(way, simulator):
    def endless():
        for _ in range(20):
            yield b'{"a":"' + b"x" * 10_000

    response = way.call("openai", "POST", "/v1/chat/completions", content=endless())
    assert response.status_code == 413
    assert simulator.seen == []


RAISED = {
    "openai": openai.InternalServerError,
    "gemini": errors.ServerError,
    "anthropic": anthropic.InternalServerError,
    "bedrock": botocore.exceptions.ClientError,
}


@pytest.mark.parametrize("name", CALLS)
def test_without_a_key_the_sdk_raises_its_usual_exception_that_names_the_setting(name, keyless, monkeypatch):
    call, provider, _, _ = CALLS[name]
    monkeypatch.setenv("HTTPS_PROXY", keyless.proxy_url("alice", keyless.token))
    with pytest.raises(RAISED[provider]) as raised:
        call(Way(keyless.certs / "bundle.pem", PLACEHOLDERS), monkeypatch)
    assert PROVIDERS[provider].key_setting in str(raised.value)
