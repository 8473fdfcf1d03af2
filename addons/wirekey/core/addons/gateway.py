"""Turns a request to a path of the gateway into a call to its provider, and serves Wirekey's own endpoints.

A program that uses a `base_url` sends its requests here. Their host names only name the gateway, so they are replaced
with the provider's. Wirekey's own endpoints are on the same port. Requests to them are not calls.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode
from OpenSSL import SSL

from wirekey.core.addons.base import Addon
from wirekey.core.ca.certificates import LOOPBACK
from wirekey.core.ca.gateway_certificate import IssuedCertificate
from wirekey.core.calls.agent_signatures import signed_head
from wirekey.core.calls.redaction import redact_head, redacted_headers, removed_values
from wirekey.core.calls.service_parts import AddedPreflights
from wirekey.core.credentials.client_supplied_aws import client_aws_credentials
from wirekey.core.egress.addresses import is_address, is_own_name
from wirekey.core.egress.hosts import region_of
from wirekey.core.egress.web_pages import (
    MISDIRECTED,
    OF_A_PAGE,
    PREFLIGHT_REFUSED,
    cors_fields,
    is_from_a_page,
    is_preflight,
    preflight_headers,
    without_cors,
)
from wirekey.core.endpoints.local_request import BODY_BYTES, parse_local_request, wrong_head
from wirekey.core.endpoints.routes import headers_of, reply_of, too_long
from wirekey.core.errors import Refusal
from wirekey.core.header_fields import by_name
from wirekey.core.local_response import LocalResponse
from wirekey.core.routing.gateway_paths import PREFIXES, bedrock_host_of, direction_of
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.signing.request import UnreadableRequestError
from wirekey.core.signing.signature_parsing import signature_of
from wirekey.core.tracebacks import safe_traceback
from wirekey.feature_registry import parts
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mitmproxy.connection import Client
    from mitmproxy.tls import TlsData

    from wirekey.core.calls.services import Services
    from wirekey.core.endpoints.reply import LocalHandler, LocalReply
    from wirekey.core.routing.gateway_paths import Direction
    from wirekey.core.signing.request import RequestHead

logger = logging.getLogger(__name__)

NO_SUCH_PATH = Refusal(
    404,
    "no_such_path",
    f"No provider has this path. A base_url is http://HOST:PORT followed by one of {', '.join(PREFIXES)}. "
    "The providers' own paths (/v1/…, /v1beta/…, /model/…) work without a prefix, too.",
)


def at_gateway(client: Client) -> bool:
    """Return whether a client is connected to the gateway, rather than to the forward proxy."""
    return isinstance(client.proxy_mode, ReverseMode)


class Gateway(Addon):
    """Decides what a path of the gateway means: a provider's operation, or an endpoint of Wirekey's own.

    It leaves the provider in the call, and the request as if it had come by the proxy. It also decides which web pages
    may call, and sets the CORS headers of responses.
    """

    handles_local_requests = True

    def __init__(self, services: Services, endpoints: Mapping[str, LocalHandler]) -> None:
        """`endpoints`: path → handler of Wirekey's own."""
        super().__init__(services)
        self.endpoints = endpoints
        self.preflights = tuple(parts(AddedPreflights))

    def tls_start_client(self, data: TlsData) -> None:
        """Use the certificate of listen.gateway_tls, or Wirekey's own for localhost.

        For a provider's name, which /etc/hosts may map to Wirekey, mitmproxy uses a certificate of Wirekey's CA.
        """
        client, certificate = data.context.client, self.services.gateway_certificate
        if certificate is None or not at_gateway(client):
            return
        if isinstance(certificate, IssuedCertificate) and client.sni in self.services.settings.hosts:
            return
        if context := certificate.context(client.sni, here=client.sockname[0] in LOOPBACK):
            data.ssl_conn = SSL.Connection(context)
            data.ssl_conn.set_accept_state()

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Redirect a request to its provider, or keep it for an endpoint of Wirekey's own. Raises Refusal."""
        if not at_gateway(flow.client_conn):
            return None
        request = flow.request
        path = request.path.partition("?")[0]
        if path in self.endpoints:
            self.receive_local_request(flow)
            return None
        check_head(request)
        decline_http2(request)
        headers = by_name(request.headers.fields)
        origin = self.check_page(request, headers)
        if is_preflight(request.method, headers):
            if origin is None and (waiting := self.ask_about_preflight(flow)):
                return waiting
            self.respond_to_preflight(flow, headers, origin)
            return None
        direction = direction_of(path, headers)
        if direction is None or direction.provider not in self.services.settings.routes.defaults:
            raise NO_SUCH_PATH
        state = self.calls.find_or_open(flow)
        state.call.provider, state.call.path = direction.provider, direction.path
        state.by_model, state.own_models = direction.by_model, direction.own_models
        state.base = f"{'https' if flow.client_conn.tls else 'http'}://{request.host_header}"
        state.origin = origin
        if PROVIDERS[direction.provider].credentials.uses_aws:
            state.arrived = signed_head(request, tls=flow.client_conn.tls)
            host = self.bedrock_host(request, direction.path, state.arrived)
        else:
            host = self.host_of(direction)
        redirect(request, host, direction.path)
        return None

    def check_page(self, request: http.Request, headers: dict[str, str]) -> str | None:
        """Return the origin of the web page that calls, if it is allowed. Raises Refusal if it is not.

        If an identity is required, the identity proves that the sender may call: a page of another site has none.
        """
        settings = self.services.settings
        if not settings.identity_required:
            if not self.is_own_name(name_of(request.host_header or "")):
                raise MISDIRECTED
            if is_from_a_page(headers, settings.cors):
                raise OF_A_PAGE
        origin = headers.get("origin")
        return origin if origin in settings.cors else None

    def is_own_name(self, name: str) -> bool:
        """Return whether a name is one of the gateway's. Any other may be of a site that points its name here."""
        settings = self.services.settings
        known = name in settings.hosts or name in settings.gateway_names
        return known or is_own_name(name) or is_address(name)

    def respond_to_preflight(self, flow: http.HTTPFlow, headers: dict[str, str], origin: str | None) -> None:
        """Respond to the preflight of a browser. It is not a call, and is not recorded."""
        if origin is None:
            raise PREFLIGHT_REFUSED
        redact_head(flow.request)
        flow.response = http.Response.make(204, b"", preflight_headers(headers))
        del flow.response.headers["content-length"]

    def ask_about_preflight(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Return what responds to the preflight of a page that gateway.cors does not list; None if nothing does."""
        for part in self.preflights:
            if waiting := part.respond(self.services, flow):
                return waiting
        return None

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Replace the provider's CORS headers with those of gateway.cors."""
        state, response = self.calls.find(flow), flow.response
        if state is None or response is None:
            return
        fields = without_cors(response.headers.fields)
        if state.origin is not None:
            fields += cors_fields(state.origin)
        if len(fields) != len(response.headers.fields) or state.origin is not None:
            response.headers.fields = fields

    def host_of(self, direction: Direction) -> str:
        """Return the host that a path of the gateway leads to. Raises Refusal if its location is not allowed."""
        provider, hosts = PROVIDERS[direction.provider], self.services.settings.hosts
        wanted = provider.hosts.host_of(direction.path) or provider.hosts.own
        if not wanted:
            return next(host for host, name in hosts.items() if name == direction.provider)
        if wanted not in hosts:
            raise Refusal(
                403,
                "region_refused",
                "The location in the path is not one of those that the configuration of the provider allows.",
            )
        return wanted

    def bedrock_host(self, request: http.Request, path: str, head: RequestHead | None) -> str:
        """Return the host of the region that the client names or signed for, or the first one. Raises Refusal."""
        hosts = self.services.settings.hosts
        named = client_aws_credentials(request.headers.fields).region or (region_signed_for(head) if head else None)
        region = named or next(found.region for name in hosts if (found := region_of(name)))
        try:
            host = bedrock_host_of(request.method, path, region, hosts)
        except ValueError:
            host = None
        if host is None:
            raise Refusal(
                403,
                "region_refused",
                "The AWS region of the signature, or of X-AWS-Region, is not in providers.bedrock.regions.",
            )
        return host

    # Wirekey's own endpoints.

    def receive_local_request(self, flow: http.HTTPFlow) -> None:
        """Keep a request to an endpoint of Wirekey's own until its body arrives; refuse a wrong head at once."""
        request = flow.request
        fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.fields)
        wrong = wrong_head(request.path, request.http_version, fields if not request.authority else (*fields, HOST))
        length = request.headers.get("content-length", "" if "transfer-encoding" in request.headers else "0")
        is_too_long = not length.isdecimal() or int(length) > BODY_BYTES
        local_request = parse_local_request(
            request.method, request.path, fields, self.calls.client_address(flow), too_long=is_too_long
        )
        redact_head(request)
        if wrong or is_too_long:
            self.respond(flow, wrong or too_long())
        else:
            self.calls.local_requests[flow.id] = local_request

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Respond to a request to an endpoint of Wirekey's own."""
        local_request = self.calls.local_requests.pop(flow.id, None)
        if local_request is None:
            return None
        reply = reply_of(self.endpoints[local_request.path], local_request)
        if isinstance(reply, Awaitable):
            return self.respond_later(flow, reply)
        self.respond(flow, reply)
        return None

    async def respond_later(self, flow: http.HTTPFlow, reply: Awaitable[LocalResponse]) -> None:
        """Respond to a request to an endpoint that waits for something."""
        self.respond(flow, await reply)

    def response(self, flow: http.HTTPFlow) -> None:
        """Forget a request to an endpoint of Wirekey's own."""
        self.calls.local_requests.pop(flow.id, None)

    error = response

    def respond(self, flow: http.HTTPFlow, reply: LocalReply) -> None:
        """Set the response without its body and its redirect, which may hold a secret.

        The wire layer takes them from `local_response_bodies` and `removed_values`.
        """
        assert isinstance(reply, LocalResponse)  # only the console has replies in parts
        flow.response = http.Response.make(reply.status, b"", headers_of(reply))
        flow.response.headers["content-length"] = str(len(reply.body))
        if flow.request.method == "HEAD" or not reply.body:
            return
        self.calls.local_response_bodies[flow] = reply.body
        fields = flow.response.headers.fields
        if any(name in SECRET_FIELDS for name, _ in fields):
            self.calls.removed_values[flow] = removed_values(fields)
            flow.response.headers.fields = redacted_headers(fields)


HOST = ("host", "")
SECRET_FIELDS = (b"location", b"set-cookie")


def name_of(host: str) -> str:
    """Return the name in a Host header, in lower case, without port, brackets and final dot."""
    host = host.strip().lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].removesuffix(".")


def check_head(request: http.Request) -> None:
    """Raise Refusal unless a request has a path as its target and exactly one host name."""
    hosts = request.headers.get_all("host")
    if request.is_http2 and request.authority:
        hosts = [*hosts[1:], request.authority] if hosts[:1] == [request.authority] else [*hosts, request.authority]
    elif request.authority:
        raise Refusal(
            400, "malformed", "The gateway is not a proxy. Send a path, or set HTTPS_PROXY to listen.forward."
        )
    if len(hosts) != 1:
        raise Refusal(400, "malformed", "A request to the gateway must have exactly one Host header.")


def decline_http2(request: http.Request) -> None:
    """Ignore an offer to upgrade to HTTP/2 (RFC 9110, 7.8), which Java's client and curl make without TLS."""
    if request.is_http11 and request.headers.get("upgrade", "").lower() == "h2c":
        del request.headers["upgrade"]


def region_signed_for(head: RequestHead) -> str | None:
    """Return the region in the scope of a signature, which is verified later; None if it cannot be read."""
    try:
        return signature_of(head).region
    except (SignatureRefused, UnreadableRequestError) as error:
        logger.debug("no region in the signature: %s", safe_traceback(error))
        return None


def redirect(request: http.Request, host: str, path: str) -> None:
    """Direct a request to a host and path of a provider, as if it had come by the proxy."""
    data = request.data
    query = data.path.partition(b"?")[1:]
    data.host, data.port, data.scheme = host, 443, b"https"
    data.path = b"".join((path.encode("utf-8", "surrogateescape"), *query))
    name = host.encode()
    if data.authority:
        data.authority = name
    if b"host" in data.headers:
        data.headers[b"host"] = name
