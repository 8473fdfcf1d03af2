"""Which model is sent, and where it is dialled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.stations.settings import Upstream
from wirekey.stations.station import AdmittingStation

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.call import Call


class Routing(AdmittingStation):
    def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        assert call.provider
        call.model = call.facts.model if call.facts else None
        request = flow.request
        upstream = self.house.settings.upstreams.get(call.provider) or Upstream(request.host, request.port)
        self.house.passage(flow).upstream = upstream
        call.upstream = upstream.host
        # The data record is set, not the property: that would rewrite the Host header, which stays as the client
        # wrote it until the wire.
        request.data.host, request.data.port = upstream.host, upstream.port
