"""A request to Wirekey itself, and the checks of its head. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirekey.core.forwarding_headers import is_forwarding_header
from wirekey.core.local_response import LocalResponse, local_error
from wirekey.providers.credential_headers import fold

BODY_BYTES = 64 * 1024
HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """A request to Wirekey itself. `path`: raw, without the query. `query`: raw, without the question mark.

    `body` None: longer than BODY_BYTES, so it was not read. `address`: of the client, without port.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    address: str
    body: bytes | None = field(default=b"", repr=False)
    query: str = field(default="", repr=False)

    def values(self, name: str) -> list[str]:
        """Return the values of all headers of a name in lower case."""
        return [value for other, value in self.headers if other.lower() == name]

    @property
    def host(self) -> str:
        """The host name in lower case, without port and brackets. Empty if the Host header is missing or repeated."""
        hosts = self.values("host")
        host = hosts[0].strip().lower() if len(hosts) == 1 else ""
        if host.startswith("["):
            return host[1:].partition("]")[0]
        return host.partition(":")[0].removesuffix(".")

    @property
    def is_forwarded(self) -> bool:
        """Whether a reverse proxy forwarded the request: then its address does not identify the client."""
        return any(is_forwarding_header(fold(name)) for name, _ in self.headers)


def parse_local_request(
    method: str, target: str, headers: tuple[tuple[str, str], ...], address: str, *, too_long: bool = False
) -> LocalRequest:
    """Return the request for a raw target, without its body."""
    path, _, query = target.partition("?")
    return LocalRequest(method, path, headers, address, None if too_long else b"", query)


def wrong_head(target: str, version: str, headers: tuple[tuple[str, str], ...]) -> LocalResponse | None:
    """Return the error response for an invalid head, or None.

    The host name is not checked here; the endpoints for browsers check it themselves. A page whose own name points here
    (DNS rebinding) could only read health and public keys, which are not secret, or get a token with a client's secret.
    """
    size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > HEAD_BYTES or len(headers) > MAX_HEADERS:
        message = f"A request head may have at most {HEAD_BYTES} bytes and {MAX_HEADERS} headers."
        return local_error(431, "head_too_large", message)
    hosts = sum(name.lower() == "host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version != "HTTP/1.0"):
        return local_error(400, "malformed", "A request must have exactly one Host header.")
    if not target.startswith("/"):
        return local_error(400, "malformed", "This is not a proxy: the target must begin with /. See listen.forward.")
    return None
