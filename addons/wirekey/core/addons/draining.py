"""Has clients leave a process that is about to end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon

if TYPE_CHECKING:
    from mitmproxy import http

SWITCHING_PROTOCOLS = 101


class Draining(Addon):
    """Ends each HTTP/1.1 connection with its next response once the process is about to end.

    Clients then open a new connection, which another process accepts. It decides nothing.
    """

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Mark the last response of a connection."""
        response = flow.response
        if not self.services.drain.has_begun or response is None:
            return
        self.services.drain.last_response = time.monotonic()
        if not flow.request.is_http2 and response.status_code != SWITCHING_PROTOCOLS:
            response.headers["connection"] = "close"
