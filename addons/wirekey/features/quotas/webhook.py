"""The receiver of notices that an operator names, and the request to it."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wirekey.core.egress.addresses import is_address, is_loopback, is_own_name
from wirekey.core.egress.http_client import HttpError, HttpRequest, HttpServer, checked, fetch, resolve
from wirekey.features.quotas.notice import signed_headers

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.secret import Secret

MAX_BYTES = 64 * 1024
"""Of the response, which is not used."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of notices, and the secret that they are signed with."""

    url: str = field(repr=False)
    secret: Secret = field(repr=False)

    @property
    def shown(self) -> str:
        """The URL for logs, without its path and query, which may contain a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def send(webhook: Webhook, notice_id: str, body: bytes, extra_ca: Path | None, proxy_for: ProxyFor) -> None:
    """Send a notice once. Blocks for some seconds. Raises HttpError unless the receiver accepts it.

    The operator names the receiver, so it may be on a private network. Only a name of this machine may lead to it.
    """
    parts = urlsplit(webhook.url)
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    proxy = proxy_for(host, port) if is_secure else None
    addresses = (host,) if is_address(host) else () if proxy else resolve(host, port)
    if not (is_own_name(host) and all(map(is_loopback, addresses))):
        addresses = checked(host, addresses, private=True)
    if proxy:
        addresses = resolve(proxy.host, proxy.port)
    headers = (
        ("Host", parts.netloc),
        ("User-Agent", "wirekey"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        *signed_headers(webhook.secret, notice_id, int(time.time()), body),
    )
    path = parts.path or "/"
    request = HttpRequest("POST", f"{path}?{parts.query}" if parts.query else path, headers, MAX_BYTES, body)
    context = trusted(extra_ca) if is_secure else None
    [response] = fetch(HttpServer(host, port, context, addresses, proxy), [request])
    if not 200 <= response.status < 300:
        raise HttpError(f"it responds with status {response.status}")


def trusted(extra_ca: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the public roots, and those of `upstream_ca_file`."""
    import certifi

    context = ssl.create_default_context(cafile=certifi.where())
    if extra_ca:
        context.load_verify_locations(extra_ca)
    return context
