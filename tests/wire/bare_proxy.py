"""A proxy that runs only the wire layer, an upstream and a client, all in one event loop over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import ssl
import tempfile
from pathlib import Path

from mitmproxy import http, options

from wirekey.core.body import Spool
from wirekey.core.errors import Refusal
from wirekey.core.wire.connection_pool import ConnectionPool
from wirekey.core.wire.delegate import WireLimits
from wirekey.core.wire.install import choose_as_mitmproxy, install, replace_http_layers
from wirekey.core.wire.upstream_connection import checked_addresses, requested_address
from wirekey.server.master import ServeMaster
from wirekey_simulator.certificate import prepare_certificate

KEY = "sk-only-on-the-wire"


class BareDelegate:
    """A delegate that allows everything and records what the layer reports. It is also the only addon."""

    is_draining = False

    def __init__(self, limits: WireLimits) -> None:
        self.limits = limits
        self.bodies: dict[str, bytes] = {}
        self.ends: list[str] = []
        self.refuse_at_head: Refusal | None = None
        self.refuse_on_wire: Refusal | None = None
        self.stream_request = False
        self.spool_folder = Path(tempfile.gettempdir())
        self.flows: list[http.HTTPFlow] = []
        self.next_upstreams: list[tuple[str, int]] = []
        """Hosts and ports of the attempts after the first."""
        self.failed: list[str] = []
        self.attempts = 0
        self.connection_pool: ConnectionPool | None = None
        self.addresses: tuple[str, ...] = ()
        """The addresses that every host resolves to, if any."""
        self.resends = True

    def limits_of(self, flow):
        return self.limits

    def count_attempt(self, flow):
        self.attempts += 1

    def is_retryable_status(self, status):
        return status in (429, 503)

    def can_retry(self, flow):
        return bool(self.next_upstreams)

    def refusal_of_hooks(self, flow):
        return None

    def takeover(self, flow, stream):
        return None

    def refusal_of_response(self, flow, response):
        return None

    def holds_response(self, flow):
        return False

    def holds_large_response(self, flow):
        return False

    def local_response_body(self, flow):
        return b""

    def refuse_malformed(self, flow, reason):
        flow.response = self.error_response(flow, Refusal(400, "malformed", reason))

    def reserve_memory(self, flow, size):
        return size

    def open_spool(self, flow):
        return Spool(self.spool_folder)

    def report_request_reset(self, flow):
        self.ends.append("withdrawn")

    def store_body(self, flow, body):
        self.bodies[flow.id] = body

    def may_be_resent(self, flow):
        return self.resends

    def is_two_way(self, flow):
        return False

    def release_body(self, flow):
        self.bodies.pop(flow.id, None)

    def wire_request(self, flow, server, *, keep):
        if self.refuse_on_wire:
            raise self.refuse_on_wire
        wire = copy.copy(flow.request)
        wire.data = copy.copy(flow.request.data)
        wire.data.headers = flow.request.headers.copy()
        wire.headers["authorization"] = f"Bearer {KEY}"
        take = self.bodies.get if self.next_upstreams or keep else self.bodies.pop
        return wire, take(flow.id, b"")

    def response_head(self, flow, response):
        return response

    def error_response(self, flow, refusal):
        body = json.dumps({"error": {"code": refusal.code, "message": refusal.message}})
        return http.Response.make(refusal.status, body, {"content-type": "application/json"})

    def stream_error(self, flow, refusal):
        if "event-stream" not in flow.response.headers.get("content-type", ""):
            return None
        return b'data: {"error":"%s"}\n\n' % refusal.code.encode()

    def refusal_if_revoked(self, flow):
        return None

    def report_end(self, flow, outcome, reason=None):
        self.ends.append(str(outcome))

    # Hooks of an addon.

    def next_layer(self, next_layer):
        choose_as_mitmproxy(next_layer)
        replace_http_layers(next_layer, self)

    def server_connect(self, data):
        requested_address[data.server] = data.server.address
        if self.addresses:
            checked_addresses[data.server] = self.addresses

    def requestheaders(self, flow):
        self.flows.append(flow)
        flow.request.stream = self.stream_request
        if self.refuse_at_head:
            flow.response = self.error_response(flow, self.refuse_at_head)

    async def attempt_failed(self, attempt):
        self.failed.append(str(attempt.kind))
        await asyncio.sleep(0)
        if self.next_upstreams:
            attempt.flow.request.data.host, attempt.flow.request.data.port = self.next_upstreams.pop(0)
            attempt.retry = True

    async def attempt_repeated(self, attempt):
        await asyncio.sleep(0)
        attempt.retry = True

    def responseheaders(self, flow):
        self.answered = flow.response.status_code
        flow.response.stream = True


class Upstream:
    """A server whose connections a test accepts, reads and writes."""

    async def start(self, context=None):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=context)
        self.port = self.server.sockets[0].getsockname()[1]
        self.connections: asyncio.Queue = asyncio.Queue()

    async def serve(self, reader, writer):
        await self.connections.put((reader, writer))

    async def accept(self):
        return await asyncio.wait_for(self.connections.get(), 60)

    async def stop(self):
        self.server.close()


@contextlib.asynccontextmanager
async def bare_proxy(limits: WireLimits | None = None, *, secured_in: Path | None = None):
    """Yield the delegate, the proxy's port and the upstream.

    `secured_in`: a folder for the certificate of an upstream with TLS, whose connections are pooled.
    """
    install()
    delegate = BareDelegate(limits or WireLimits())
    master = ServeMaster(options.Options())
    master.options.update(mode=["regular@127.0.0.1:0"], connection_strategy="lazy")
    master.addons.add(delegate)
    running = asyncio.create_task(master.run())
    upstream = Upstream()
    context = None
    if secured_in:
        server_file, root = prepare_certificate(secured_in)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server_file)
        master.options.update(ssl_verify_upstream_trusted_ca=str(root))
        delegate.connection_pool = ConnectionPool()
    await upstream.start(context)
    proxyserver = master.addons.get("proxyserver")
    while not proxyserver.listen_addrs():
        await asyncio.sleep(0.01)
    port = proxyserver.listen_addrs()[0][1]
    try:
        yield delegate, port, upstream
    finally:
        if delegate.connection_pool is not None:
            await delegate.connection_pool.close()
        master.shutdown()
        await asyncio.wait([running], timeout=60)
        await upstream.stop()


async def read_head(reader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)


async def read_response(reader) -> tuple[bytes, bytes]:
    """Return the head and body of a response that has a Content-Length."""
    head = await read_head(reader)
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return head, await asyncio.wait_for(reader.readexactly(length), 60)


def request(port: int, body: bytes = b"", *lines: bytes, scheme: bytes = b"http") -> bytes:
    head = [b"POST %s://127.0.0.1:%d/v1/x HTTP/1.1" % (scheme, port), b"Host: 127.0.0.1:%d" % port, *lines]
    head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + body
