"""What each stage refuses on open connections."""

from __future__ import annotations

import json
import math

import pytest

from tests.support.addon_flows import passed, refusal_of, request_flow, services_for
from wirekey.core.addons.gateway import Gateway
from wirekey.core.addons.order import AddonOrder
from wirekey.feature import FeatureValues
from wirekey.features.load_shedding.addon import LoadShedding
from wirekey.features.load_shedding.stages import Bounds, Stage

REFUSED = (503, "overloaded")
BEGAN = 1000.0
"""When the first stage began, as Unix time."""


def addon_at(stage: Stage) -> LoadShedding:
    services = services_for(features=FeatureValues.of([Bounds(0.1, 1000)]))
    order = AddonOrder()
    order.addons = (Gateway(services, {}),)
    addon = LoadShedding(services, order)
    addon.monitor.stage, addon.monitor.since = stage, BEGAN if stage else math.inf
    return addon


def flow_of(path="/v1/chat/completions", *, connected=BEGAN - 1, method="POST", host="api.openai.com", **headers):
    flow = request_flow(path, host, method=method, **headers)
    flow.client_conn.timestamp_start = connected
    return flow


async def first_stage_that_refuses(**request) -> Stage | None:
    """Return the first stage that refuses a request. Each later one must refuse it, too."""
    refused = []
    for stage in Stage:
        addon = addon_at(stage)
        flow = await passed(addon, flow_of(**request))
        found = refusal_of(addon.services, flow)
        assert found in (None, REFUSED)
        if found:
            refused.append(stage)
            assert flow.response.headers["retry-after"] == "1"
            assert sum(addon.monitor.refused.values()) == 1
    assert refused == list(Stage)[refused[0] :] if refused else True
    return refused[0] if refused else None


CASES = {
    "a call on an open connection": ({"content_length": "1000"}, Stage.CALLS),
    "a call on a new connection": ({"content_length": "1000", "connected": BEGAN}, Stage.CONNECTIONS),
    "a tunnel on a new connection": ({"method": "CONNECT", "connected": BEGAN}, Stage.CONNECTIONS),
    "a large body": ({"content_length": "1001"}, Stage.LARGE_BODIES),
    "a body of unknown length": ({"transfer_encoding": "chunked"}, Stage.LARGE_BODIES),
    "OpenAI's list of models": ({"path": "/v1/models", "method": "GET"}, Stage.MODEL_LISTS),
    "Anthropic's": ({"path": "/v1/models?limit=5", "method": "GET", "host": "api.anthropic.com"}, Stage.MODEL_LISTS),
    "a stored response": ({"path": "/v1/responses/resp_1", "method": "GET"}, Stage.CALLS),
    "a WebSocket": ({"path": "/v1/realtime?model=x", "method": "GET", "upgrade": "websocket"}, Stage.CALLS),
    "an unknown path": ({"path": "/nothing", "method": "GET"}, Stage.CALLS),
}


@pytest.mark.parametrize(("request_", "stage"), CASES.values(), ids=CASES)
async def test_each_stage_refuses_more(request_, stage):
    assert await first_stage_that_refuses(**request_) == stage


async def test_an_http2_body_of_unknown_length_is_large_but_a_request_without_a_body_is_not():
    addon = addon_at(Stage.LARGE_BODIES)
    for method, refusal in (("POST", REFUSED), ("GET", None)):
        flow = flow_of("/v1/responses/resp_1", method=method)
        flow.request.http_version = "HTTP/2.0"
        assert refusal_of(addon.services, await passed(addon, flow)) == refusal


SHAPES = {
    "api.openai.com": lambda body: body["error"]["code"],
    "api.anthropic.com": lambda body: body["error"]["code"],
    "generativelanguage.googleapis.com": lambda body: body["error"]["status"],
    "bedrock-runtime.us-east-1.amazonaws.com": lambda body: body["message"][:7],
}
EXPECTED = ("overloaded", "overloaded", "UNAVAILABLE", "Wirekey")


@pytest.mark.parametrize(("host", "expected"), zip(SHAPES, EXPECTED, strict=True))
async def test_a_refusal_has_the_error_format_of_its_provider(host, expected):
    flow = await passed(addon_at(Stage.CALLS), flow_of("/v1/x", host=host))
    assert SHAPES[host](json.loads(flow.response.content)) == expected


async def test_a_request_to_an_endpoint_of_wirekeys_own_is_not_refused():
    addon, flow = addon_at(Stage.CALLS), flow_of("/health", method="GET")
    addon.calls.local_requests[flow.id] = object()
    assert (await passed(addon, flow)).response is None
