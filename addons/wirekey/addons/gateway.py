"""The gateway: a program that was given a `base_url` calls a path here; from here on it is a call to the provider.

What such a request says of names is only how the gateway is called, and is replaced by the provider's own. Our own
endpoints stand on the same port, and are answered in place: they are no calls.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode
from OpenSSL import SSL

from wirekey.addons.base import Addon
from wirekey.addons.policy import by_name
from wirekey.ca.certificates import LOOPBACK
from wirekey.calls.redaction import redact_head
from wirekey.calls.signatures import signed_head
from wirekey.console.gate import is_address, is_own_name
from wirekey.console.local_request import BODY_BYTES, parse_local_request, wrong_head
from wirekey.console.router import headers_of
from wirekey.credentials.client_supplied_aws import client_aws_credentials
from wirekey.egress.hosts import region_of
from wirekey.egress.web_pages import (
    MISDIRECTED,
    OF_A_PAGE,
    PREFLIGHT_REFUSED,
    cors_fields,
    is_from_a_page,
    is_preflight,
    preflight_headers,
    without_cors,
)
from wirekey.errors import Refusal
from wirekey.local_response import LocalResponse
from wirekey.providers import PROVIDERS
from wirekey.routing.gateway_paths import PREFIXES, bedrock_host_of, direction_of
from wirekey.server.gateway_certificate import IssuedCertificate
from wirekey.signing.refusal import SignatureRefused
from wirekey.signing.request import UnreadableRequestError
from wirekey.signing.signature_parsing import parse_signature
from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from mitmproxy.connection import Client
    from mitmproxy.tls import TlsData

    from wirekey.calls.services import Services
    from wirekey.console.reply import LocalReply
    from wirekey.console.router import Router
    from wirekey.signing.request import RequestHead

logger = logging.getLogger(__name__)

NO_SUCH_PATH = Refusal(
    404,
    "no_such_path",
    f"This path is no provider's. A base_url is http://HOST:PORT followed by one of {', '.join(PREFIXES)}; "
    "the providers' own paths (/v1/…, /v1beta/…, /model/…) stand at the root too.",
)


def at_gateway(client: Client) -> bool:
    return isinstance(client.proxy_mode, ReverseMode)


class Gateway(Addon):
    handles_local_requests = True

    def __init__(self, services: Services, router: Router) -> None:
        super().__init__(services)
        self.router = router

    def tls_start_client(self, data: TlsData) -> None:
        """Show the certificate of listen.gateway_tls, or our own for localhost.

        For the name of a provider, as which /etc/hosts may have a client call us, mitmproxy shows one of our CA.
        """
        client, certificate = data.context.client, self.services.gateway_certificate
        if certificate is None or not at_gateway(client):
            return
        if isinstance(certificate, IssuedCertificate) and client.sni in self.services.settings.hosts:
            return
        if context := certificate.context(client.sni, here=client.sockname[0] in LOOPBACK):
            data.ssl_conn = SSL.Connection(context)
            data.ssl_conn.set_accept_state()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if not at_gateway(flow.client_conn):
            return
        request = flow.request
        path = request.path.partition("?")[0]
        if self.router.has(path):
            self.take_visit(flow, path)
            return
        check_head(request)
        decline_http2(request)
        headers = by_name(request.headers)
        origin = self.check_page(request, headers)
        if is_preflight(request.method, headers):
            self.answer_preflight(flow, headers, origin)
            return
        direction = direction_of(path, headers)
        if direction is None:
            raise NO_SUCH_PATH
        state = self.calls.find_or_open(flow)
        state.call.provider = direction.provider
        state.by_model, state.own_models = direction.by_model, direction.own_models
        state.base = f"{'https' if flow.client_conn.tls else 'http'}://{request.host_header}"
        state.origin = origin
        if PROVIDERS[direction.provider].uses_aws:
            state.arrived = signed_head(request, tls=flow.client_conn.tls)
            host = self.bedrock_host(request, direction.path, state.arrived)
        else:
            host = PROVIDERS[direction.provider].host
        redirect(request, host, direction.path)

    def check_page(self, request: http.Request, headers: dict[str, str]) -> str | None:
        """Return the origin of the page that calls, if it is an allowed one. Raises Refusal.

        A request that must show an identity proves by it that its sender may call: no page has it by chance.
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
        """Return whether no page of another site can have had this name point here."""
        settings = self.services.settings
        known = name in settings.hosts or name in settings.gateway_names
        return known or is_own_name(name) or is_address(name)

    def answer_preflight(self, flow: http.HTTPFlow, headers: dict[str, str], origin: str | None) -> None:
        """Answer what a browser asks before a page may call: it is no call, and leaves no record."""
        if origin is None:
            raise PREFLIGHT_REFUSED
        redact_head(flow.request)
        flow.response = http.Response.make(204, b"", preflight_headers(headers))
        del flow.response.headers["content-length"]

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Say to browsers what our configuration says of pages, and nothing that the provider says."""
        state, response = self.calls.find(flow), flow.response
        if state is None or response is None:
            return
        fields = without_cors(response.headers.fields)
        if state.origin is not None:
            fields += cors_fields(state.origin)
        if len(fields) != len(response.headers.fields) or state.origin is not None:
            response.headers.fields = fields

    def bedrock_host(self, request: http.Request, path: str, head: RequestHead | None) -> str:
        """Give the host of the region that the client signed for, or says it means, or the first configured."""
        hosts = self.services.settings.hosts
        asked = client_aws_credentials(request.headers.fields).region or (region_signed_for(head) if head else None)
        region = asked or next(found.region for name in hosts if (found := region_of(name)))
        try:
            host = bedrock_host_of(request.method, path, region, hosts)
        except ValueError:
            host = None
        if host is None:
            raise Refusal(
                403,
                "region_refused",
                "The AWS region that the call is signed for, or that X-AWS-Region names, is none of "
                "providers.bedrock.regions.",
            )
        return host

    # Our own endpoints.

    def take_visit(self, flow: http.HTTPFlow, path: str) -> None:
        """Keep a request that we answer ourselves until its body is there."""
        request = flow.request
        fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.fields)
        wrong = wrong_head(request.path, request.http_version, fields if not request.authority else (*fields, HOST))
        length = request.headers.get("content-length", "" if "transfer-encoding" in request.headers else "0")
        too_long = not length.isdecimal() or int(length) > BODY_BYTES
        local_request = parse_local_request(
            request.method, request.path, fields, flow.client_conn.peername[0], too_long=too_long
        )
        redact_head(request)
        if wrong or too_long:
            self.answer(flow, wrong or self.router.answer(local_request))
        else:
            self.calls.local_requests[flow.id] = local_request

    def request(self, flow: http.HTTPFlow) -> None:
        local_request = self.calls.local_requests.pop(flow.id, None)
        if local_request is not None:
            self.answer(flow, self.router.answer(local_request))

    def response(self, flow: http.HTTPFlow) -> None:
        self.calls.local_requests.pop(flow.id, None)

    error = response

    def answer(self, flow: http.HTTPFlow, answer: LocalReply) -> None:
        """Answer without leaving on the flow what the answer says: it may be a token."""
        assert isinstance(answer, LocalResponse)  # those that come later, or in parts, are the console's
        flow.response = http.Response.make(answer.status, b"", headers_of(answer))
        flow.response.headers["content-length"] = str(len(answer.body))
        if flow.request.method != "HEAD":
            self.calls.own_bodies[flow] = answer.body


HOST = ("host", "")


def name_of(host: str) -> str:
    """Return the name in a Host header, in lower case, without port, brackets and final dot."""
    host = host.strip().lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].removesuffix(".")


def check_head(request: http.Request) -> None:
    hosts = request.headers.get_all("host")
    if request.is_http2 and request.authority:
        hosts = [*hosts[1:], request.authority] if hosts[:1] == [request.authority] else [*hosts, request.authority]
    elif request.authority:
        raise Refusal(
            400, "malformed", "The gateway is no proxy: ask for a path, or set HTTPS_PROXY to listen.forward."
        )
    if len(hosts) != 1:
        raise Refusal(400, "malformed", "A request to the gateway has exactly one Host header.")


def decline_http2(request: http.Request) -> None:
    """Go on in HTTP/1.1, as a server may (RFC 9110, 7.8): without TLS, Java's client and curl offer to change."""
    if request.is_http11 and request.headers.get("upgrade", "").lower() == "h2c":
        del request.headers["upgrade"]


def region_signed_for(head: RequestHead) -> str | None:
    """Give the region in the scope of a signature, which is verified later."""
    try:
        return parse_signature(head.fields(), head.query).region
    except (SignatureRefused, UnreadableRequestError) as error:
        logger.debug("no region in the signature: %s", safe_traceback(error))
        return None


def redirect(request: http.Request, host: str, path: str) -> None:
    """Make a request one to a provider, as if it had come for it by the proxy."""
    data = request.data
    query = data.path.partition(b"?")[1:]
    data.host, data.port, data.scheme = host, 443, b"https"
    data.path = b"".join((path.encode("utf-8", "surrogateescape"), *query))
    name = host.encode()
    if data.authority:
        data.authority = name
    data.headers.fields = tuple(
        (field, name if field.lower() == b"host" else value) for field, value in data.headers.fields
    )
