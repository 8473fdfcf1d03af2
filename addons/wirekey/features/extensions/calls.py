"""Shows calls to the operator's extensions, and applies what the extensions return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy import http

from wirekey.core.call import Outcome
from wirekey.core.calls.redaction import redact_head
from wirekey.core.errors import Fault, Refusal
from wirekey.extension import (
    CallInfo,
    ExtensionError,
    Head,
    Request,
    Response,
    ResponseHead,
    check_header,
)
from wirekey.features.extensions.running import run_limited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.body import RequestBody
    from wirekey.core.call import Call
    from wirekey.core.calls.calls import Calls
    from wirekey.features.extensions.running import RequestHook

    type Fields = tuple[tuple[str, str], ...]

OWN_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer", "te"})
"""Headers that an extension's own response must not have."""


def call_info(call: Call, *, model: str | None = None, route: str | None = None) -> CallInfo:
    """Return what an extension may know of a call. `model` and `route`: of the attempt, if there is one."""
    agent, facts = call.agent, call.facts
    return CallInfo(
        id=call.id,
        agent_id=agent.id if agent else None,
        agent_role=agent.role if agent else None,
        agent_type=agent.type if agent else None,
        provider=call.provider or "",
        operation=call.operation.name if call.operation else "",
        requested_model=facts.model if facts else None,
        model=model or call.model,
        stream=bool(facts and facts.stream),
        route=route or call.route or "",
    )


def head_of(request: http.Request, host: str) -> Head:
    """Return the head of a request for an extension. `host`: with the port unless it is 443."""
    return Head(request.method, host, request.data.path.decode("latin-1"), text_fields(request.headers))


def text_fields(headers: http.Headers) -> Fields:
    """Return header fields as text."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.fields)


def byte_fields(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Return header fields as bytes."""
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in fields)


def extension_failed(what: str, error: ExtensionError) -> Refusal:
    """Return the refusal of a call for which an extension failed. `what`: the beginning of a sentence."""
    return Refusal(503, "extension_failed", f"{what}, so it was not sent: {error}.", Fault.OPERATOR)


def request_for_hooks(
    call: Call, request: http.Request, content: RequestBody | None, *, is_json: bool = False, is_preflight: bool = False
) -> Request:
    """Return a request as its hooks see it, without credentials."""
    agent = call.agent
    return Request(
        headers=text_fields(request.headers),
        id=call.id,
        agent_id=agent.id if agent else None,
        agent_role=agent.role if agent else None,
        agent_type=agent.type if agent else None,
        client=call.client,
        provider=call.provider,
        method=request.method,
        path=request.data.path.decode("latin-1"),
        is_preflight=is_preflight,
        is_json=is_json,
        content=content,
    )


async def ask_hooks(hooks: Sequence[RequestHook], request: Request) -> tuple[Request, Response | None, str]:
    """Ask each hook about a request. Return the changed request, the response of a hook if one responded, and its name.

    Raises Refusal if a hook refuses or fails.
    """
    for hook in hooks:
        if hook.on_request is None:
            continue
        try:
            result = await run_limited(hook.name, hook.time_limit, hook.on_request, request)
            if isinstance(result, Refusal):
                raise result
            if isinstance(result, Response):
                check_response(hook.name, result)
                return request, result, hook.name
            if result is not None:
                check_change(hook.name, request, result)
                request = result
        except ExtensionError as error:
            raise extension_failed("An extension failed for this call", error) from error
    return request, None, ""


def check_change(name: str, before: Request, after: object) -> None:
    """Raise ExtensionError unless a hook changed only headers that it may change, and the body."""
    if not isinstance(after, Request):
        raise ExtensionError(f"{name} returned neither a Request, nor a Response, nor a Refusal, nor None")
    fixed = ("id", "agent_id", "agent_role", "agent_type", "client", "provider", "method", "path", "is_json")
    if any(getattr(before, attribute) != getattr(after, attribute) for attribute in fixed):
        raise ExtensionError(f"{name} changed more of the request than headers and body")
    if (before.content is None) != (after.content is None):
        raise ExtensionError(f"{name} added or removed a body")
    check_fields(name, before.headers, after.headers)


def check_fields(name: str, before: Fields, after: Fields) -> None:
    """Raise ExtensionError if a hook set or removed a header that it must not."""
    try:
        known = set(before)
        for header, value in [field for field in after if field not in known]:
            check_header(header, value)
        left = set(after)
        for header, _ in [field for field in before if field not in left]:
            check_header(header, "")
    except (TypeError, ValueError):
        raise ExtensionError(f"{name} returned headers that are not pairs of texts") from None
    except ExtensionError as error:
        raise ExtensionError(f"{name}: {error}") from None


def check_response(name: str, response: Response) -> None:
    """Raise ExtensionError unless the response of a hook can be sent."""
    status: object = response.status
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ExtensionError(f"{name} returned a status that is not a number from 200 to 599")
    body: object = response.body
    if not isinstance(body, bytes):
        raise ExtensionError(f"{name} returned a body that is not bytes")
    for header, value in response.headers.items():
        if header.lower() in OWN_FRAMING:
            raise ExtensionError(f"{name} may not set the header {header.lower()} of a response")
        if header.lower() != "content-type":
            try:
                check_header(header, value)
            except ExtensionError as error:
                raise ExtensionError(f"{name}: {error}") from None


def respond(calls: Calls, flow: http.HTTPFlow, response: Response, name: str) -> None:
    """Set the response of a hook, with its body beside the flow. A preflight is not recorded."""
    state = calls.find(flow)
    if state is not None:
        call, state.responds_here = state.call, True
        call.status, call.response_bytes = response.status, len(response.body)
        call.policy_reason = f"extension: {name} responded"
        denied = response.status >= 400
        call.policy_result = "deny" if denied else None
        call.outcome = Outcome.DENIED if denied else Outcome.COMPLETED
    flow.request.headers.pop("expect", None)
    flow.request.stream = False
    flow.response = http.Response.make(response.status, b"", dict(response.headers))
    if state is not None:
        flow.response.headers["x-wirekey-request-id"] = state.call.id
    if response.status in (204, 304):
        flow.response.headers.pop("content-length", None)
    else:
        flow.response.headers["content-length"] = str(len(response.body))
        if flow.request.method != "HEAD":
            calls.local_response_bodies[flow] = response.body
    redact_head(flow.request)


async def ask_about_response(hooks: Sequence[RequestHook], call: CallInfo, head: ResponseHead) -> ResponseHead:
    """Ask each hook about the head of a response, and return the changed one. Raises ExtensionError."""
    for hook in hooks:
        if hook.on_response is None:
            continue
        result = await run_limited(hook.name, hook.time_limit, hook.on_response, call, head)
        if result is None:
            continue
        if not isinstance(result, ResponseHead) or result.status != head.status:
            raise ExtensionError(f"{hook.name} returned neither the head of the response, with its status, nor None")
        check_fields(hook.name, head.headers, result.headers)
        head = result
    return head
