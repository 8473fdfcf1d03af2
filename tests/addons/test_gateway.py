"""The gateway finds the provider that a path names, and leaves the request as if it had come by the proxy."""

from __future__ import annotations

import json

import pytest
from mitmproxy.test import tutils

from tests.support.addon_flows import passed, refusal_of, request_flow, services_for
from wirekey.core.addons.gateway import Gateway
from wirekey.core.local_response import local_json

PAGE = "https://page.example"
PREFLIGHT = {"origin": PAGE, "access_control_request_method": "POST"}
BEDROCK = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"


def gateway_request(path, host="127.0.0.1:8000", **headers):
    return request_flow(path, host, gateway=True, **headers)


@pytest.mark.parametrize(
    ("path", "headers", "provider", "host", "provider_path"),
    [
        ("/v1/chat/completions", {}, "openai", "api.openai.com", "/v1/chat/completions"),
        ("/api/v1/openai/v1/files", {}, "openai", "api.openai.com", "/v1/files"),
        ("/v1/messages", {}, "anthropic", "api.anthropic.com", "/v1/messages"),
        ("/v1/models", {"anthropic_version": "2023-06-01"}, "anthropic", "api.anthropic.com", "/v1/models"),
        (
            "/v1beta/models/gemini-2.5-flash:generateContent?alt=sse",
            {},
            "gemini",
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-2.5-flash:generateContent?alt=sse",
        ),
        (BEDROCK, {}, "bedrock", "bedrock-runtime.us-east-1.amazonaws.com", BEDROCK),
    ],
)
async def test_a_path_leads_to_its_provider(path, headers, provider, host, provider_path):
    services = services_for()
    flow = await passed(Gateway(services, {}), gateway_request(path, **headers))
    request = flow.request
    assert (request.host, request.port, request.scheme, request.path) == (host, 443, "https", provider_path)
    assert request.headers["host"] == host
    assert flow.response is None
    state = services.calls.state(flow)
    assert (state.call.provider, state.base) == (provider, "http://127.0.0.1:8000")


@pytest.mark.parametrize(
    ("path", "headers", "refused"),
    [
        ("/no/such/path", {}, (404, "no_such_path")),
        ("/api/v1/cohere/v1/chat", {}, (404, "no_such_path")),
        (BEDROCK, {"x_aws_region": "eu-west-3"}, (403, "region_refused")),
        ("/v1/messages", PREFLIGHT, (403, "origin_refused")),
    ],
)
async def test_a_request_that_leads_nowhere_is_refused(path, headers, refused):
    services = services_for()
    method = "OPTIONS" if headers is PREFLIGHT else "POST"
    flow = await passed(Gateway(services, {}), gateway_request(path, method=method, **headers))
    assert refusal_of(services, flow) == refused
    assert "127.0.0.1" in flow.request.headers["host"], "the request was not redirected"


@pytest.mark.parametrize(
    ("hosts", "authority"),
    [(["127.0.0.1:8000"], "api.openai.com:443"), ([], ""), (["127.0.0.1", "localhost"], "")],
    ids=["the target of a proxy", "no host", "two hosts"],
)
async def test_a_request_must_have_a_path_and_one_host(hosts, authority):
    services, flow = services_for(), gateway_request("/v1/chat/completions")
    flow.request.headers.set_all("host", hosts)
    flow.request.authority = authority
    await passed(Gateway(services, {}), flow)
    assert refusal_of(services, flow) == (400, "malformed")


@pytest.mark.parametrize(
    ("headers", "host", "refused"),
    [
        ({}, "127.0.0.1:8000", None),
        ({}, "[::1]:8000", None),
        ({}, "localhost:8000", None),
        ({}, "gateway.corp.example", None),
        ({"origin": PAGE}, "localhost:8000", None),
        ({"origin": "https://other.example"}, "localhost:8000", (403, "origin_refused")),
        ({"sec_fetch_site": "cross-site"}, "localhost:8000", (403, "origin_refused")),
        ({}, "rebound.example:8000", (421, "misdirected")),
    ],
)
async def test_without_identities_only_listed_pages_and_names_may_call(headers, host, refused):
    settings = {"cors": frozenset({PAGE}), "gateway_names": frozenset({"gateway.corp.example"})}
    services = services_for(identity_required=False, **settings)
    flow = await passed(Gateway(services, {}), gateway_request("/v1/chat/completions", host, **headers))
    assert refusal_of(services, flow) == refused


async def test_a_preflight_of_a_listed_page_gets_a_response_and_is_no_call():
    services = services_for(cors=frozenset({PAGE}))
    flow = gateway_request("/v1/chat/completions", method="OPTIONS", authorization="Bearer wk_x", **PREFLIGHT)
    await passed(Gateway(services, {}), flow)
    assert flow.response.status_code == 204
    assert flow.response.headers["access-control-allow-origin"] == PAGE
    assert "wk_x" not in str(flow.request.headers.fields)
    assert services.calls.states == {}


@pytest.mark.parametrize(("origin", "allowed"), [(PAGE, PAGE), ("https://other.example", None), (None, None)])
async def test_a_response_has_the_origins_of_the_gateway_and_not_the_providers(origin, allowed):
    services = services_for(cors=frozenset({PAGE}))
    flow = gateway_request("/v1/chat/completions", **({"origin": origin} if origin else {}))
    flow.response = None
    gateway = Gateway(services, {})
    await passed(gateway, flow)
    flow.response = tutils.tresp(headers=((b"Access-Control-Allow-Origin", b"*"), (b"x-request-id", b"1")))
    gateway.responseheaders(flow)
    assert flow.response.headers.get("access-control-allow-origin") == allowed
    assert flow.response.headers["x-request-id"] == "1"


async def test_a_request_by_the_proxy_is_not_changed():
    services, flow = services_for(), request_flow("/health", "api.openai.com")
    before = flow.request.get_state()
    await passed(Gateway(services, {"/health": lambda _: local_json(200, {})}), flow)
    assert flow.request.get_state() == before
    assert flow.response is None
    assert services.calls.states == {}


async def test_an_endpoint_of_wirekeys_own_is_served_and_its_secrets_are_not_on_the_flow():
    seen = []

    def token_endpoint(request):
        seen.extend(request.values("authorization"))
        return local_json(200, {"access_token": "the token"}, ("set-cookie", "session=1"))

    services = services_for()
    flow = gateway_request("/api/v1/auth/token", authorization="Basic c2VjcmV0")
    await passed(Gateway(services, {"/api/v1/auth/token": token_endpoint}), flow)
    assert seen == ["Basic c2VjcmV0"]
    assert "c2VjcmV0" not in str(flow.request.headers.fields)
    assert flow.response.content == b""
    assert "session=1" not in str(flow.response.headers.fields)
    assert json.loads(services.calls.local_response_bodies[flow]) == {"access_token": "the token"}
    assert (services.calls.states, services.calls.local_requests) == ({}, {})


@pytest.mark.parametrize("length", ["1000000000", "-1", "ten"])
async def test_a_body_that_is_too_long_for_an_endpoint_is_refused_at_once(length):
    def never(_):
        raise AssertionError

    flow = gateway_request("/health", content_length=length)
    await passed(Gateway(services_for(), {"/health": never}), flow)
    assert flow.response.status_code in {400, 413}


async def test_an_offer_to_upgrade_to_http2_is_ignored():
    flow = await passed(Gateway(services_for(), {}), gateway_request("/v1/models", upgrade="h2c"))
    assert "upgrade" not in flow.request.headers
