"""Requests of sinks that speak HTTP: to public addresses and private networks, with https unless it is this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wirekey.core.egress.addresses import is_address
from wirekey.core.egress.http_client import HttpError, HttpRequest, HttpServer, fetch, resolve
from wirekey.features.audit_sinks.sink import SinkError, addresses_of, trusted

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.egress.http_client import HttpResponse
    from wirekey.core.egress.upstream_proxy import ProxyFor

MAX_BYTES = 64 * 1024
"""Of a response."""


def place_of(url: str) -> str:
    """Return a URL for messages, without its path and query, which may contain a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class HttpTarget:
    """The server of a URL. Raises OSError if its `ca_file` cannot be read."""

    def __init__(self, url: str, ca_file: Path | None, proxy_for: ProxyFor) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.authority, self.path = parts.netloc, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        self.is_secure = parts.scheme == "https"
        self.port = parts.port or (443 if self.is_secure else 80)
        self.place = place_of(url)
        self._context = trusted(ca_file) if self.is_secure else None
        self._proxy_for = proxy_for

    def request(self, method: str, target: str, headers: tuple[tuple[str, str], ...], body: bytes) -> HttpResponse:
        """Send a request with these headers, of which Host is one. Blocks for some seconds. Raises SinkError."""
        proxy = self._proxy_for(self.host, self.port) if self.is_secure else None
        request = HttpRequest(method, target, headers, MAX_BYTES, body)
        try:
            if proxy is None:
                addresses = addresses_of(self.host, self.port)
            else:
                if is_address(self.host):
                    addresses_of(self.host, self.port)
                addresses = resolve(proxy.host, proxy.port)
            [response] = fetch(HttpServer(self.host, self.port, self._context, addresses, proxy), [request])
        except HttpError as error:
            raise SinkError(str(error)) from None
        return response
