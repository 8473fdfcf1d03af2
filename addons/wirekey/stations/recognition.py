"""What is asked: provider operation, model, counts. Nothing of the content is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from wirekey.egress.hosts import region_of
from wirekey.providers import PROVIDERS
from wirekey.providers.bedrock_services import service_of
from wirekey.providers.protocol import Body, Facts
from wirekey.refusal import Refusal
from wirekey.stations.station import AdmittingStation, fail_closed

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.call import Call
    from wirekey.providers.protocol import Operation

READ_BODIES = (Body.JSON, Body.MULTIPART)


class Recognition(AdmittingStation):
    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        call = self.house.call(flow)
        assert call.provider
        request = flow.request
        path = request.path.partition("?")[0]
        operation = PROVIDERS[call.provider].recognise(request.method, path, request.headers)
        if operation is None:
            raise Refusal(
                404,
                "unknown_operation",
                f"{request.method} on this path is no operation of {call.provider} that Wirekey lets through.",
            )
        if call.provider == "bedrock":
            check_service(self.house.passage(flow).host, operation)
        call.operation = operation
        call.reads_body = operation.body in READ_BODIES
        if call.reads_body:
            self.check_body_head(request)
        else:
            flow.request.stream = operation.body is Body.OPAQUE
            self.admit(flow, call)

    def check_body_head(self, request: http.Request) -> None:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "encoded_body", "The request body is compressed. Send it without Content-Encoding.")
        length = request.headers.get("content-length")
        limit = self.house.limits.body_bytes
        if length is not None and length.isdecimal() and int(length) > limit:
            raise Refusal(
                413,
                "request_too_large",
                f"The request body is larger than limits.body_bytes allows ({limit} bytes).",
            )

    def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        assert call.provider
        assert call.operation
        if not call.reads_body:
            call.facts = Facts(model=call.operation.model, stream=call.operation.stream)
            return
        request = self.house.judged(flow)
        query = dict(parse_qsl(request.path.partition("?")[2], keep_blank_values=True))
        body = self.house.passage(flow).body
        content_type = request.headers.get("content-type", "")
        call.facts = PROVIDERS[call.provider].read_request(call.operation, query, content_type, body)


def check_service(host: str, operation: Operation) -> None:
    """See that a host of Bedrock has this operation: the same path means another thing, or nothing, elsewhere."""
    called, service = region_of(host), service_of(operation.name)
    if called is None or called.service != service:
        raise Refusal(
            404,
            "unknown_operation",
            f"{operation.name} is an operation of {service}, and this host is another service's. "
            f"Send it to {service}.REGION.amazonaws.com.",
        )
