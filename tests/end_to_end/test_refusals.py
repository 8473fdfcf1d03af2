"""Refusals of Wirekey and of the providers, in each provider's shape, over each delivery.

Wirekey's own: no key, too large, compressed, too many headers."""

from __future__ import annotations

import gzip
import json

import anthropic
import botocore.exceptions
import openai
import pytest
from google.genai import errors
from mistralai.client.errors import SDKError

from tests.deliveries.paths import PATHS, Deployment, RowAgent, each_delivery, failed_rows, name_parameter
from tests.support.raw_client import REQUEST_DELIVERIES, RawClient, post
from tests.support.running import Wirekey
from tests.support.sdk_calls import CALLS, Way
from tests.support.stream_formats import FORMATS, HOSTS, PLACEHOLDER, PLACEHOLDERS, Format, RawWay, headers_for
from tests.threats.conftest import beginning
from wirekey.providers.registry import PROVIDERS

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
        "providers": {
            name: {"upstream_url": simulator.url} for name in PROVIDERS if name not in ("vertex", "code_assist")
        },
        "limits": {"body_bytes": LIMIT, "headers": 40},
        "listen": {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None},
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


WORDS = {
    413: ["limits.body_bytes", str(LIMIT)],
    415: ["Content-Encoding"],
    431: ["limits.headers"],
}
ROWS = {f"{name} {status}": (name, status) for name in ONE_OF_EACH for status in (503, *WORDS)}


def refused_request(name: str, status: int) -> tuple[Format, dict[str, str], bytes]:
    """Return the format, the headers and the body of a request that gets this status."""
    wanted = FORMATS[ONE_OF_EACH[name]]
    content, headers = json.dumps(wanted.body).encode(), {"content-type": "application/json"}
    if status == 413:
        content = json.dumps({**wanted.body, "padding": "x" * LIMIT}).encode()
    elif status == 415:
        content, headers = gzip.compress(content), {**headers, "content-encoding": "gzip"}
    elif status == 431:
        headers |= {f"x-many-{number}": "1" for number in range(40)}
    return wanted, headers, content


def check_refusal(wanted: Format, status: int, body: bytes) -> None:
    message = sentence(wanted.provider, wanted.path, body)
    for word in WORDS.get(status) or [PROVIDERS[wanted.provider].credentials.setting, f"providers.{wanted.provider}"]:
        assert word in message


@pytest.mark.parametrize("path", [path for path in PATHS if path.pooled], ids=name_parameter)
def test_a_refusal_has_the_providers_shape_and_a_fix(path, keyless, simulator):
    """Over each protocol, by the proxy and by the gateway."""
    deployment, began = Deployment(simulator, keyless, {"alice": keyless.token}), beginning()
    answers = {}
    with deployment.client(path) as client:
        for row, (name, status) in ROWS.items():
            wanted, headers, content = refused_request(name, status)
            address, key = deployment.address(path, wanted.provider)
            headers |= headers_for(wanted.provider, wanted.path, key)
            answers[row] = client.post(address + wanted.path, content=content, headers=headers)
    events = {event["id"]: event for event in keyless.finished_events(len(ROWS), began)}
    for row, (name, status) in ROWS.items():
        response = answers[row]
        assert response.status_code == status, row
        check_refusal(FORMATS[ONE_OF_EACH[name]], status, response.content)
        event = events[response.headers["x-wirekey-request-id"]]
        assert (event["outcome"], event["status"], event["policy_result"]) == ("denied", status, "deny"), row
    assert simulator.seen == []


@pytest.mark.parametrize("gateway", [False, True], ids=["proxy", "gateway"])
@pytest.mark.parametrize("delivery", REQUEST_DELIVERIES)
def test_a_refusal_arrives_however_the_request_is_sent(delivery, gateway, keyless, simulator):
    for row, (name, status) in ROWS.items():
        wanted, headers, content = refused_request(name, status)
        host = HOSTS[wanted.provider]
        headers |= headers_for(wanted.provider, wanted.path, keyless.token if gateway else PLACEHOLDER)
        lines = [f"{header}: {value}" for header, value in headers.items()]
        path = f"/api/v1/{wanted.provider}{wanted.path}" if gateway else wanted.path
        with RawClient(keyless.running.gateway if gateway else keyless.running.forward) as client:
            if gateway:
                host = keyless.running.gateway
            else:
                assert client.connect(f"{host}:443", "alice", keyless.token).status == 200
                client.start_tls(keyless.root, host)
            client.send_request(post(*lines, path=path, host=host, body=content, content_type=None), delivery)
            response = client.read_response()
        assert response.status == status, (row, response)
        check_refusal(wanted, status, response.body)
    assert simulator.seen == []


STATUSES = (400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529)
SHAPES = {
    "openai": ("/v1/chat/completions", {"model": "alone-x", "messages": [{"role": "user", "content": "hello"}]}),
    "gemini": (
        "/v1beta/models/alone-x:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    ),
    "anthropic": (
        "/v1/messages", {"model": "alone-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    ),
    "bedrock": (
        "/model/alone-x/converse", {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}
    ),
}  # fmt: skip


@each_delivery(1)
def test_a_refusal_of_the_provider_reaches_the_client_in_any_delivery(deployment, path, delivery):
    rows = {f"{provider} {status}": (provider, status) for provider in SHAPES for status in STATUSES}

    def check(agent: RowAgent, row: tuple[str, int]) -> None:
        provider, status = row
        url_path, body = SHAPES[provider]
        response = agent.client.request(**agent.request(provider, "POST", url_path, f"fail={status}", json=body))
        assert response.status_code == status, response.text
        assert sentence(provider, url_path, response.content)
        (event,) = agent.events(1)
        assert (event["outcome"], event["status"], event["attempts"]) == ("upstream_error", status, 1), event

    assert failed_rows(deployment, path, delivery, rows, check) == []


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
    "mistral": SDKError,
}


@pytest.mark.parametrize("name", CALLS)
def test_without_a_key_the_sdk_raises_its_usual_exception_that_names_the_setting(name, keyless, monkeypatch):
    call, provider, _, _ = CALLS[name]
    monkeypatch.setenv("HTTPS_PROXY", keyless.proxy_url("alice", keyless.token))
    with pytest.raises(RAISED[provider]) as raised:
        call(Way(keyless.certs / "bundle.pem", PLACEHOLDERS), monkeypatch)
    assert PROVIDERS[provider].credentials.setting in str(raised.value)
