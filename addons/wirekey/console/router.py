"""Routes local requests to their endpoints. Does no I/O of its own.

POST /api/v1/auth/token      a token for client credentials
GET  /.well-known/jwks.json  the public keys of these tokens
GET  /health                 the process is alive; the servers that it shares with other machines
GET  /ready                  whether it is ready for calls: 200 or 503, for each part
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.console.local_request import BODY_BYTES
from wirekey.console.readiness import health, readiness
from wirekey.identity.token_endpoint import KEYS_PATH, TOKEN_PATH
from wirekey.identity.token_request import TokenRequest
from wirekey.local_response import LocalResponse, local_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.console.local_request import LocalRequest
    from wirekey.console.readiness import ReadinessReport
    from wirekey.console.reply import LocalHandler, LocalReply
    from wirekey.identity.token_endpoint import TokenEndpoint

HEALTH_PATH = "/health"
READY_PATH = "/ready"

SECURITY = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
"""Headers of each response, unless it sets them itself."""


@dataclass(frozen=True, slots=True)
class Router:
    """The endpoints of one listener. `tokens` returns None if another issuer issues the tokens.

    `more`: path → handler of further endpoints.
    """

    tokens: Callable[[], TokenEndpoint | None]
    report: Callable[[], ReadinessReport]
    more: Mapping[str, LocalHandler] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Return whether this path is an endpoint."""
        return path in (TOKEN_PATH, KEYS_PATH, HEALTH_PATH, READY_PATH) or path in self.more

    def respond(self, request: LocalRequest) -> LocalReply:
        """Return the reply to a request."""
        if handler := self.more.get(request.path):
            return handler(request) if request.body is not None else too_long()
        if request.path in (TOKEN_PATH, KEYS_PATH):
            return self._of_tokens(request)
        if request.path == HEALTH_PATH:
            return wrong_method(request) or health(self.report())
        if request.path == READY_PATH:
            return wrong_method(request) or readiness(self.report())
        message = f"The endpoints are POST {TOKEN_PATH}, and GET {KEYS_PATH}, {HEALTH_PATH} and {READY_PATH}."
        return local_error(404, "not_found", message)

    def _of_tokens(self, request: LocalRequest) -> LocalResponse:
        tokens = self.tokens()
        if tokens is None:
            message = "Wirekey issues no tokens here: identity.jwt.jwks_url names another issuer. Use that one."
            return local_error(404, "not_found", message)
        if request.path == KEYS_PATH:
            return tokens.keys(request.method)
        if request.body is None:
            return too_long()
        return tokens.respond(TokenRequest(request.method, request.headers, request.body, request.address))


def too_long() -> LocalResponse:
    """Return the error for a body that is too long."""
    return local_error(413, "invalid_request", f"The body is longer than {BODY_BYTES} bytes.")


def wrong_method(request: LocalRequest) -> LocalResponse | None:
    """Return the error for a method other than GET and HEAD, or None."""
    if request.method in ("GET", "HEAD"):
        return None
    return local_error(405, "invalid_request", "Read this with GET.", ("allow", "GET, HEAD"))


def headers_of(response: LocalResponse) -> dict[str, str]:
    """Return all headers of a response."""
    return SECURITY | {name.lower(): value for name, value in response.headers}
