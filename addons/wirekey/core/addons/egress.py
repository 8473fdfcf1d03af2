"""Decides which hosts, ports and addresses may be reached, and checks the head of each request."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from typing import TYPE_CHECKING

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.tls import parse_client_hello

from wirekey.core.addons.base import Addon
from wirekey.core.addons.gateway import at_gateway
from wirekey.core.calls.conversations import UPGRADE_REFUSED
from wirekey.core.calls.tunnels import TUNNEL
from wirekey.core.calls.wire_delegate import CallDelegate
from wirekey.core.egress.addresses import reason_to_refuse
from wirekey.core.egress.names import authority_names, is_canonical
from wirekey.core.errors import Refusal
from wirekey.core.header_fields import by_name
from wirekey.core.wire.connection_handler import skip_outer_layers
from wirekey.core.wire.happy_eyeballs import interleave_families
from wirekey.core.wire.install import CloseConnectionLayer, choose_as_mitmproxy, replace_http_layers
from wirekey.core.wire.tunnel import TunnelLayer, TunnelTraffic
from wirekey.core.wire.upstream_connection import (
    ADDRESS_REFUSED,
    checked_addresses,
    requested_address,
    upstream_proxies,
)

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Server
    from mitmproxy.proxy.layer import NextLayer
    from mitmproxy.proxy.server_hooks import ServerConnectionHookData
    from mitmproxy.tls import TlsData

    from wirekey.core.calls.services import Services
    from wirekey.core.egress.upstream_proxy import UpstreamProxy


logger = logging.getLogger(__name__)

CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE"})
HTTPS_PORT = 443
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TLS_RECORD_START = 3
"""The number of bytes that tell a TLS record from other protocols: its type and version."""

REPLAY_REFUSED = Refusal(
    403,
    "replay_refused",
    "Wirekey sends no credential with a request that was replayed, or loaded from a file. Send the request again from "
    "the program.",
)


class Egress(Addon):
    """Refuses hosts, ports, addresses and request heads that are not allowed, and chooses the protocol layers.

    Connections to provider hosts are decrypted, others are tunnelled or closed. A provider's name is resolved once,
    and only the addresses that were checked are dialled.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.delegate = CallDelegate(services)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Check the target of a CONNECT, and mark it as a tunnel if it is not a provider's host."""
        host, port = flow.request.host, flow.request.port
        if not is_canonical(host):
            raise Refusal(
                403,
                "host_refused",
                "The CONNECT target is not a host name in lower-case ASCII. Connect by name.",
            )
        if port != HTTPS_PORT:
            raise Refusal(403, "port_refused", f"Only port {HTTPS_PORT} may be reached through this proxy.")
        if host in self.services.settings.hosts:
            return
        call = self.calls.of(flow)
        strict = call.agent is not None and call.agent.strict
        if reason := self.services.settings.other_hosts.reason_to_refuse(host, strict=strict):
            raise Refusal(403, "host_refused", reason)
        call.operation, call.upstream, call.simulated = TUNNEL, host, False

    def next_layer(self, next_layer: NextLayer) -> None:
        """Choose the layer of a connection: decrypt provider hosts, tunnel other hosts, close what is neither."""
        context = next_layer.context
        if next_layer.layer is None and context.client.tls_established:
            # Inside a decrypted tunnel there is HTTP, and never TLS again.
            inner_tls = starts_like_tls_record(next_layer.data_client())
            next_layer.layer = CloseConnectionLayer(context) if inner_tls else HttpLayer(context, HTTPMode.transparent)
        elif next_layer.layer is None and at_gateway(context.client):
            choose_for_gateway(next_layer)
        elif next_layer.layer is None and len(context.layers) > 1 and context.server.address:
            self.choose_for_tunnel(next_layer, context.server.address[0])
        elif not may_start_tls_record(next_layer.data_client()):
            choose_as_mitmproxy(next_layer)
        replace_http_layers(next_layer, self.delegate)

    def choose_for_tunnel(self, next_layer: NextLayer, host: str) -> None:
        """Wait for a whole ClientHello, then decrypt a connection to a provider and tunnel any other."""
        context, data = next_layer.context, next_layer.data_client()
        if len(data) >= TLS_RECORD_START and not starts_like_tls_record(data):
            logger.warning("tunnel to %s closed: its first bytes are not TLS", host)
            self.close_tunnel(next_layer, "not_tls")
            return
        try:
            hello = parse_client_hello(data)
        except ValueError:
            self.close_tunnel(next_layer, "not_tls")
            return
        if hello is None:
            return
        if hello.sni is not None and hello.sni != host:
            logger.warning("tunnel to %s closed: its TLS server name differs", host)
            self.close_tunnel(next_layer, "names_differ")
        elif host in self.services.settings.hosts:
            # The provider is dialled later, with its own TLS. Here this only makes the requests https.
            context.server.tls = True
            next_layer.layer = ClientTLSLayer(context)
            skip_outer_layers(next_layer.layer)
        else:
            tunnel = self.calls.tunnels.find(context.client.id)
            if tunnel:
                tunnel.server = context.server
            self.services.client_connections.request_started(context.client.id)
            next_layer.layer = TunnelLayer(context, tunnel.traffic if tunnel else TunnelTraffic())
            skip_outer_layers(next_layer.layer)

    def close_tunnel(self, next_layer: NextLayer, reason: str) -> None:
        """Close a tunnel, and note the reason in its event."""
        if tunnel := self.calls.tunnels.find(next_layer.context.client.id):
            tunnel.traffic.refused = reason
        next_layer.layer = CloseConnectionLayer(next_layer.context)

    # The request.

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Check host, names, method and headers of a request."""
        request = flow.request
        provider = self.services.settings.hosts.get(request.host)
        if flow.is_replay or not flow.live:
            raise REPLAY_REFUSED
        if request.scheme != "https" or provider is None:
            raise Refusal(
                403,
                "host_refused",
                "Only https:// to a provider host is served here; plain http:// and other hosts are not.",
            )
        self.check_names(request)
        if request.data.method not in METHODS:
            raise Refusal(405, "method_not_allowed", "This method is not allowed.")
        if len(request.headers.fields) > self.services.settings.header_count:
            raise Refusal(431, "too_many_headers", "The request has more header lines than limits.headers allows.")
        if "upgrade" in request.headers:
            headers = by_name(request.headers.fields)
            if headers["upgrade"].strip().lower() != "websocket":
                raise UPGRADE_REFUSED
            self.services.conversations.check_upgrade(request, headers)
        if CONTROL.search(b" ".join(value for _, value in request.headers.fields)):
            raise Refusal(400, "malformed", "A header value holds a control character.")

    def check_names(self, request: http.Request) -> None:
        """Raise Refusal unless Host header, TLS server name and CONNECT target agree."""
        written = request.headers.get_all("host")
        hosts = [*written, request.authority] if request.authority else written
        if len(written) > 1:
            raise Refusal(400, "malformed", "The request has more than one Host header.")
        if not hosts or not all(authority_names(name, request.host, request.port) for name in hosts):
            raise Refusal(421, "names_differ", "Host header, TLS server name and CONNECT target do not agree.")

    # The provider's connection.

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Resolve the name of an upstream, and check its addresses: only these are dialled."""
        server = data.server
        assert server.address
        requested_address[server] = server.address[:2]
        try:
            await self.pin_address(server)
        except OSError as error:
            server.error = f"its address could not be found: {error.strerror or error}"

    async def pin_address(self, server: Server) -> None:
        """Set the addresses to dial, or the reason why none may be. Raises OSError if the name does not resolve."""
        assert server.address
        host, port = server.address[:2]
        settings = self.services.settings
        if proxy := settings.proxies.proxy_for(host, port):
            await self.pin_proxy(server, proxy)
            return
        addresses = await addresses_of(host, port)
        if (host, port) not in settings.places and (reason := reason_to_refuse_one(addresses)):
            server.error = f"{ADDRESS_REFUSED}it resolves to {reason}"
            return
        checked_addresses[server] = interleave_families(addresses)
        server.address = (checked_addresses[server][0], port)

    async def pin_proxy(self, server: Server, proxy: UpstreamProxy) -> None:
        """Set the proxy to dial, or the reason why it may not be used for this host. Raises OSError.

        The proxy resolves the name. The name of a provider is one of a fixed table. Any other name must have public
        addresses here, too, or be one that egress.allow names and that is not known here.
        """
        assert server.address
        host, port = server.address[:2]
        settings = self.services.settings
        if not settings.is_upstream(host, port):
            try:
                addresses = await addresses_of(host, port)
            except OSError:
                if not settings.other_hosts.allows(host):
                    raise
                addresses = []
            if reason := reason_to_refuse_one(addresses):
                server.error = f"{ADDRESS_REFUSED}it resolves to {reason}"
                return
        checked_addresses[server] = interleave_families(await addresses_of(proxy.host, proxy.port))
        upstream_proxies[server] = proxy
        server.address = (checked_addresses[server][0], proxy.port)

    def tls_start_server(self, data: TlsData) -> None:
        """Offer the upstream the protocol of the client. HTTP/2 costs more and gains nothing for an HTTP/1.1 client."""
        data.conn.alpn_offers = [b"h2", b"http/1.1"] if data.context.client.alpn == b"h2" else [b"http/1.1"]


async def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises OSError if its name does not resolve."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def reason_to_refuse_one(addresses: list[str]) -> str | None:
    """Return why one of these addresses may not be dialled, or None if all may be."""
    return next((reason for address in addresses if (reason := reason_to_refuse(address))), None)


def may_start_tls_record(data: bytes) -> bool:
    """Return whether more bytes are needed to tell whether these start a TLS record."""
    return data in (b"\x16", b"\x16\x03")


def choose_for_gateway(next_layer: NextLayer) -> None:
    """Choose by the first bytes: TLS, HTTP/2 with prior knowledge, or HTTP/1.1."""
    context, data = next_layer.context, next_layer.data_client()
    if len(data) < TLS_RECORD_START:
        return
    if starts_like_tls_record(data):
        next_layer.layer = ClientTLSLayer(context)
        return
    if data.startswith(HTTP2_PREFACE[: len(data)]):
        context.client.alpn = b"h2"
    next_layer.layer = HttpLayer(context, HTTPMode.transparent)
