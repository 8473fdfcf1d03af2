"""Which answer a request gets. Without I/O of its own.

POST /api/v1/auth/token      a token for client credentials
GET  /.well-known/jwks.json  the public keys of these tokens
GET  /health                 the process lives
GET  /ready                  it can take calls: 200 or 503, part by part
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.call import new_call_id
from wirekey.console.gateway_paths import provider_of
from wirekey.console.readiness import readiness
from wirekey.console.request import BODY_BYTES
from wirekey.identity.token_endpoint import KEYS_PATH, TOKEN_PATH, Answer, failure, uncached
from wirekey.identity.token_request import TokenRequest
from wirekey.providers import PROVIDERS
from wirekey.refusal import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.console.reply import Handler, Reply
    from wirekey.console.request import Request
    from wirekey.identity.token_endpoint import TokenEndpoint

HEALTH_PATH = "/health"
READY_PATH = "/ready"

SECURITY = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
"""What each answer has, where it does not say otherwise itself."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The answers of one listener. `tokens` gives None where another issuer gives them out.

    `gateway`: whether programs come here that were given a `base_url`. `more`: path → what else is answered here.
    """

    tokens: Callable[[], TokenEndpoint | None]
    ready: Callable[[], Mapping[str, str | None]]
    gateway: bool = False
    more: Mapping[str, Handler] = field(default_factory=dict)

    def answer(self, request: Request) -> Reply:
        if handler := self.more.get(request.path):
            return handler(request) if request.body is not None else too_long()
        if request.path in (TOKEN_PATH, KEYS_PATH):
            return self._of_tokens(request)
        if request.path == HEALTH_PATH:
            return wrong_method(request) or uncached(200, {"status": "ok"})
        if request.path == READY_PATH:
            return wrong_method(request) or readiness(self.ready())
        if self.gateway and (provider := provider_of(request)):
            return not_yet(provider)
        message = f"Here are POST {TOKEN_PATH}, and GET {KEYS_PATH}, {HEALTH_PATH} and {READY_PATH}."
        return failure(404, "not_found", message)

    def _of_tokens(self, request: Request) -> Answer:
        tokens = self.tokens()
        if tokens is None:
            message = "No tokens are given out here: identity.jwt.jwks_url names another issuer. Ask that one."
            return failure(404, "not_found", message)
        if request.path == KEYS_PATH:
            return tokens.keys(request.method)
        if request.body is None:
            return too_long()
        return tokens.answer(TokenRequest(request.method, request.headers, request.body, request.address))


def too_long() -> Answer:
    return failure(413, "invalid_request", f"The body is longer than {BODY_BYTES} bytes.")


def wrong_method(request: Request) -> Answer | None:
    if request.method in ("GET", "HEAD"):
        return None
    return failure(405, "invalid_request", "Read this with GET.", ("allow", "GET, HEAD"))


def not_yet(provider: str) -> Answer:
    """Refuse a call to a `base_url` in the shape of the provider, so that its SDK shows the sentence."""
    refusal = Refusal(
        501,
        "gateway_not_built",
        "Calls to a base_url come with a later version of Wirekey. HTTPS_PROXY works today: leave base_url as it is, "
        "and run the program with `wirekey exec`, or with what `wirekey env` prints.",
        Fault.OPERATOR,
    )
    request_id = new_call_id()
    body, headers = PROVIDERS[provider].phrase(refusal, request_id)
    fields = {**headers, "x-wirekey-request-id": request_id, "content-length": str(len(body))}
    return Answer(refusal.status, tuple(fields.items()), body)


def headers_of(answer: Answer) -> dict[str, str]:
    return SECURITY | {name.lower(): value for name, value in answer.headers}
