"""Which model is sent, and where it is dialled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.providers.protocol import Kind
from wirekey.routing.override import with_model
from wirekey.stations.settings import Upstream
from wirekey.stations.station import AdmittingStation

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.call import Call


class Routing(AdmittingStation):
    def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        assert call.provider
        call.model = call.facts.model if call.facts else None
        passage = self.house.passage(flow)
        if passage.wanted_model and call.model and call.operation and call.operation.kind is not Kind.LISTING:
            self.override(flow, call, passage.wanted_model)
        request = flow.request
        upstream = self.house.settings.upstreams.get(call.provider) or Upstream(request.host, request.port)
        passage.upstream = upstream
        call.upstream = upstream.host
        # The data record is set, not the property: that would rewrite the Host header, which stays as the client
        # wrote it until the wire.
        request.data.host, request.data.port = upstream.host, upstream.port

    def override(self, flow: http.HTTPFlow, call: Call, model: str) -> None:
        """Ask for another model; of path and body only its name changes."""
        assert call.provider
        assert call.operation
        judged, passage = self.house.judged(flow), self.house.passage(flow)
        content_type = judged.headers.get("content-type", "")
        judged.data.path, passage.body = with_model(
            call.provider, call.operation, judged.data.path, content_type, passage.body, model
        )
        call.model = model
