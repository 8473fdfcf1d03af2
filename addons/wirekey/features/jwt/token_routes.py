"""The endpoints of tokens by path, for the listeners of Wirekey's own endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.local_response import LocalResponse, local_error
from wirekey.features.jwt.token_endpoint import KEYS_PATH, TOKEN_PATH
from wirekey.features.jwt.token_request import TokenRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.endpoints.reply import LocalHandler
    from wirekey.features.jwt.token_endpoint import TokenEndpoint


def token_routes(endpoint: Callable[[], TokenEndpoint | None]) -> dict[str, LocalHandler]:
    """Return path → handler. `endpoint` returns None if another issuer issues the tokens."""

    def token(request: LocalRequest) -> LocalResponse:
        given = TokenRequest(request.method, request.headers, request.body or b"", request.address)
        return tokens.respond(given) if (tokens := endpoint()) else elsewhere()

    def keys(request: LocalRequest) -> LocalResponse:
        return tokens.keys(request.method) if (tokens := endpoint()) else elsewhere()

    return {TOKEN_PATH: token, KEYS_PATH: keys}


def elsewhere() -> LocalResponse:
    """Return the error if another issuer issues the tokens."""
    message = "Wirekey issues no tokens here: identity.jwt.jwks_url names another issuer. Use that one."
    return local_error(404, "not_found", message)
