"""Flows for tests of single addons, which run in mitmproxy's test context."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons, tflow, tutils

from wirekey.core.body import Body
from wirekey.core.calls.services import Services
from wirekey.core.operation import Kind, Operation
from wirekey.core.routing.candidate import Candidate
from wirekey.core.routing.routes import Routes
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.call import Call

HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "bedrock-runtime.us-east-1.amazonaws.com": "bedrock",
}
CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
MESSAGES = Operation("messages", Body.JSON, Kind.INFERENCE)
GENERATE = Operation("generateContent", Body.JSON, Kind.INFERENCE, model="gemini-2.5-flash")
MODEL_LIST = Operation("models.list", Body.NONE, Kind.LISTING)


def services_for(**settings) -> Services:
    """Return the services of a process with the hosts of four providers, and these settings."""
    services = Services()
    routes = Routes({name: Candidate(name) for name in HOSTS.values()})
    services.settings = replace(services.settings, **{"hosts": HOSTS, "routes": routes} | settings)
    return services


def request_flow(
    path: str = "/v1/chat/completions",
    host: str = "api.openai.com",
    *,
    method: str = "POST",
    gateway: bool = False,
    **headers: str,
) -> http.HTTPFlow:
    """Return the flow of a request. `headers`: names with `_` for `-`."""
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in ({"host": host} | headers).items()]
    request = tutils.treq(
        host=host,
        port=80 if gateway else 443,
        scheme=b"http" if gateway else b"https",
        method=method.encode(),
        path=path.encode(),
        headers=fields,
        content=b"",
    )
    request.authority = ""
    flow = tflow.tflow(req=request)
    if gateway:
        flow.client_conn.proxy_mode = ProxyMode.parse("reverse:http://127.0.0.1:9")
    return flow


def recognised(
    services: Services, flow: http.HTTPFlow, operation: Operation = CHAT, provider: str = "openai", **body
) -> Call:
    """Open the call of a flow, as the addons before recognition's end leave it: with its operation, body and facts."""
    call = services.calls.find_or_open(flow).call
    state = services.calls.state(flow)
    call.provider, call.operation = provider, operation
    state.host = flow.request.host
    call.reads_body = operation.body is not Body.NONE
    if call.reads_body:
        state.body = json.dumps(body or ({} if operation.model else {"model": "gpt-4o-mini", "messages": []})).encode()
        call.facts = PROVIDERS[provider].operations.read_request(operation, {}, "application/json", state.body)
    return call


async def passed(addon: object, flow: http.HTTPFlow) -> http.HTTPFlow:
    """Run an addon's hooks for a flow as mitmproxy runs them, and return the flow."""
    with taddons.context(loadcore=False) as context:
        await context.cycle(addon, flow)
    return flow


def refusal_of(services: Services, flow: http.HTTPFlow) -> tuple[int, str] | None:
    """Return status and code of the refusal of a flow; None if it was not refused."""
    if flow.response is None:
        return None
    return flow.response.status_code, services.calls.of(flow).refusal_code
