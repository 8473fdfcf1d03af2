"""The start of each request, noted before any addon can refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon

if TYPE_CHECKING:
    from mitmproxy import http


class RequestStart(Addon):
    """Notes that a request of a client connection has begun, so that no deadline of the connection runs.

    It is the first of the addons: requests that a later addon refuses are noted, too. It leaves the note in
    `services.client_connections`; `Connections` notes the end of the response.
    """

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note the head of a request."""
        self.services.client_connections.request_started(flow.client_conn.id)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Note the head of a CONNECT request."""
        self.services.client_connections.request_started(flow.client_conn.id)
