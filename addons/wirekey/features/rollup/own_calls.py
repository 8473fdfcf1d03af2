"""Makes calls of Wirekey's own on behalf of an agent: decided on, recorded, paid and answered as those of its programs.

Such a call passes the same addons as a program's, in the same order, with the agent and its proof of the call that it
belongs to. It is no flow of mitmproxy: no other addon, page or dump sees it. It has one attempt.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mitmproxy import ctx, http
from mitmproxy.connection import Client, Server

from wirekey.core.addons.audit import Audit
from wirekey.core.addons.base import Addon
from wirekey.core.addons.credentials import Credentials
from wirekey.core.addons.metering import Metering
from wirekey.core.call import Outcome
from wirekey.core.calls.wire_delegate import CallDelegate
from wirekey.core.egress.http_client import HttpConnection, HttpError, HttpRequest, HttpServer, checked, resolve
from wirekey.core.errors import Refusal
from wirekey.core.labels import NOTHING
from wirekey.core.wire.delegate import ResponseRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.call import Agent
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.services import Services
    from wirekey.core.identity.proof import Proof
    from wirekey.core.labels import FoundLabels

MOST_BYTES = 4 * 1024 * 1024
"""Of a response."""


@dataclass(frozen=True, slots=True)
class OwnRequest:
    """A request of Wirekey's own. `purpose`: the operation that is recorded. `timeout`: seconds, for the whole call."""

    purpose: str
    host: str
    path: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str]
    timeout: float


@dataclass(frozen=True, slots=True)
class OnBehalf:
    """The agent that a call is made for: as it was found in a call of its own, with its proof, address and labels."""

    agent: Agent | None
    proof: Proof
    client: str | None
    header_labels: FoundLabels = NOTHING


class OwnCalls:
    """Makes the calls. `order`: the addons, of which `Audit` is the last that decides."""

    def __init__(self, services: Services, order: AddonOrder) -> None:
        self.services = services
        self.calls = services.calls
        self.order = order
        self.delegate = CallDelegate(services)

    @cached_property
    def deciding(self) -> tuple[Addon, ...]:
        """The addons that decide, in their order."""
        return tuple(addon for addon in self.order.addons if isinstance(addon, Addon) and addon.decides_own_calls)

    @cached_property
    def credentials(self) -> Credentials:
        """The addon that chooses the key."""
        return self.order.get(Credentials)

    @cached_property
    def metering(self) -> Metering:
        """The addon that counts tokens."""
        return self.order.get(Metering)

    @cached_property
    def audit(self) -> Audit:
        """The addon that records."""
        return self.order.get(Audit)

    async def send(self, request: OwnRequest, behalf: OnBehalf) -> tuple[str, bytes] | None:
        """Make a call. Return Content-Type and body of a successful response, or None.

        The event has the reason of a failure.
        """
        flow = self.open(request, behalf)
        try:
            async with asyncio.timeout(request.timeout):
                await self.decide(flow)
                if flow.response is None:
                    return await self.exchange(flow)
                await done(self.audit.response, flow)
        except TimeoutError:
            self.end(flow, Outcome.TIMEOUT, "the time limit of the call")
        except HttpError as error:
            self.end(flow, Outcome.UPSTREAM_ERROR, str(error))
        except Refusal as refusal:
            self.end(flow, Outcome.UPSTREAM_ERROR, refusal.code)
        except ResponseRefused as refused:
            self.end(flow, Outcome.UPSTREAM_ERROR, refused.refusal.code)
        finally:
            if self.calls.find(flow):
                self.end(flow, Outcome.INTERRUPTED, None)
        return None

    def open(self, request: OwnRequest, behalf: OnBehalf) -> http.HTTPFlow:
        """Open the call, as of the agent."""
        now, nowhere = time.time(), ("127.0.0.1", 0)
        client = Client(peername=nowhere, sockname=nowhere, timestamp_start=now)
        flow = http.HTTPFlow(client, Server(address=(request.host, 443)))
        usual = {"host": request.host, "content-type": "application/json", "accept-encoding": "identity"}
        headers = usual | {"user-agent": "wirekey", "content-length": str(len(request.body)), **request.headers}
        fields = tuple((name.encode(), value.encode()) for name, value in headers.items())
        flow.request = http.Request.make("POST", f"https://{request.host}{request.path}", b"", http.Headers(fields))
        state = self.calls.find_or_open(flow)
        call = state.call
        call.agent, call.client, call.purpose = behalf.agent, behalf.client, request.purpose
        call.header_labels = behalf.header_labels
        call.request_bytes = len(request.body)
        state.proof, state.host, state.body = behalf.proof, request.host, request.body
        return flow

    async def decide(self, flow: http.HTTPFlow) -> None:
        """Have each addon decide. A refusal is the response of the flow."""
        for hook in ("requestheaders", "request"):
            for addon in self.deciding:
                if hasattr(addon, hook):
                    await done(getattr(addon, hook), flow)

    async def exchange(self, flow: http.HTTPFlow) -> tuple[str, bytes] | None:
        """Send the attempt, and return Content-Type and body of a successful response, or None.

        Raises HttpError, Refusal and ResponseRefused.
        """
        state = self.calls.state(flow)
        assert state.attempt
        server = await asyncio.to_thread(self.server_of, state.attempt)
        silence = self.delegate.limits_of(flow).first_byte
        connection = await HttpConnection.open(server, silence)
        try:
            # The certificate was verified for this very host, or the operator has configured plain HTTP.
            verified = Server(address=(server.host, server.port))
            if server.context:
                verified.tls, verified.sni, verified.timestamp_tls_setup = True, server.host, time.time()
            wire, body = self.delegate.wire_request(flow, verified, keep=False)
            self.delegate.count_attempt(flow)
            fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in wire.headers.fields)
            target = wire.data.path.decode("latin-1")
            found = await connection.exchange(HttpRequest(wire.method, target, fields, MOST_BYTES, bytes(body[:])))
        finally:
            connection.close()
        response = flow.response = http.Response.make(found.status, b"", found.headers)
        await done(self.credentials.responseheaders, flow)
        await done(self.metering.responseheaders, flow)
        assert callable(response.stream)
        parts = [*response.stream(found.body), *response.stream(b"")] if found.body else [*response.stream(b"")]
        content_type, status = response.headers.get("content-type", ""), response.status_code
        for addon in (self.credentials, self.metering, self.audit):
            await done(addon.response, flow)
        return (content_type, b"".join(parts)) if status == 200 else None

    def server_of(self, attempt: AttemptState) -> HttpServer:
        """Return the server of an attempt, with its checked addresses. Blocks. Raises HttpError."""
        settings, upstream = self.services.settings, attempt.upstream
        proxy = settings.proxies.proxy_for(upstream.host, upstream.port)
        addresses = resolve(proxy.host, proxy.port) if proxy else resolve(upstream.host, upstream.port)
        if not upstream.configured and not proxy:
            addresses = checked(upstream.host, addresses)
        trusted = ctx.options.ssl_verify_upstream_trusted_ca
        context = ssl.create_default_context(cafile=trusted) if upstream.tls else None
        return HttpServer(upstream.host, upstream.port, context, addresses, proxy)

    def end(self, flow: http.HTTPFlow, outcome: Outcome, reason: str | None) -> None:
        """Record a call that has no whole response."""
        self.delegate.report_end(flow, outcome, reason)
        self.metering.error(flow)
        self.audit.error(flow)


async def done(hook: Callable[[http.HTTPFlow], Awaitable[None] | None], flow: http.HTTPFlow) -> None:
    """Run a hook of an addon, with its guard, to its end."""
    waiting = hook(flow)
    if waiting is not None:
        await waiting
