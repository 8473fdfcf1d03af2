"""The token endpoint: exchanges client credentials for a token of the agent. Does no I/O of its own.

POST /api/v1/auth/token      grant_type=client_credentials, client_id, client_secret, scope (optional)
GET  /.well-known/jwks.json  the public keys, for verifying these tokens elsewhere
"""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING

from wirekey.core.identity.clients import LONGEST_ID, is_secret_of
from wirekey.core.identity.throttle import Throttle, neighbourhood
from wirekey.core.local_response import LocalResponse, local_error, local_json
from wirekey.features.jwt.token_request import TokenRequestError, parse_grant

if TYPE_CHECKING:
    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.identity.clients import OAuthClient
    from wirekey.features.jwt.config import JWTConfig
    from wirekey.features.jwt.signing_keys import SigningKeys
    from wirekey.features.jwt.token_request import ClientCredentialsGrant, TokenRequest

TOKEN_PATH = "/api/v1/auth/token"  # noqa: S105  # a path
KEYS_PATH = "/.well-known/jwks.json"


class TokenEndpoint:
    """Issues tokens. `settings` may be replaced when the configuration changes; failures are kept.

    Wrong secrets get slower responses, per client and address, and per address over all clients. The right secret
    always gets its token, whatever others tried: programs that share an address cannot lock each other out. So every
    secret is verified, even beyond the limit. That does not help to guess one: a secret is 256 random bits, and its
    verification is one SHA-256 and one comparison in constant time.

    An imported secret with little entropy is different: beyond the limit it is not verified, so that it cannot be
    guessed.
    """

    def __init__(self, settings: JWTConfig, keys: SigningKeys, agents: AgentStore) -> None:
        self.settings = settings
        self._keys = keys
        self._agents = agents
        self._known_clients: Throttle[tuple[str, str]] = Throttle()
        self._unknown_clients: Throttle[tuple[str, str]] = Throttle()
        self._by_address: Throttle[str] = Throttle()

    def respond(self, request: TokenRequest, now: float | None = None, ticks: float | None = None) -> LocalResponse:
        """Return the response to a token request. `now`: Unix seconds; `ticks`: seconds of a monotonic clock."""
        now, ticks = time.time() if now is None else now, time.monotonic() if ticks is None else ticks
        try:
            grant = parse_grant(request)
            client = self._authenticate(grant, neighbourhood(request.address), ticks)
            return self._grant(client, grant, now)
        except SlowDownError as error:
            message = f"Too many failures. Try again in {error.seconds} s."
            return local_error(429, "slow_down", message, ("retry-after", str(error.seconds)))
        except TokenRequestError as error:
            extra = [("allow", "POST")] if error.status == 405 else []
            if error.status == 401 and request.tries_header:
                extra.append(("www-authenticate", 'Basic realm="wirekey", charset="UTF-8"'))
            return local_error(error.status, error.code, error.description, *extra)

    def keys(self, method: str) -> LocalResponse:
        """Return the response to a request for the public keys."""
        if method not in ("GET", "HEAD"):
            return local_error(405, "invalid_request", "Read the keys with GET.", ("allow", "GET, HEAD"))
        body = self._keys.document()
        headers = (
            ("content-type", "application/json"),
            ("cache-control", "public, max-age=300"),
            ("content-length", str(len(body))),
        )
        return LocalResponse(200, headers, b"" if method == "HEAD" else body)

    def _authenticate(self, grant: ClientCredentialsGrant, address: str, ticks: float) -> OAuthClient:
        client = self._agents.find_client(grant.client_id) if len(grant.client_id) <= LONGEST_ID else None
        # Unknown clients are counted separately: invented names must not displace the failures of real clients.
        pairs = self._known_clients if client else self._unknown_clients
        pair = (grant.client_id[:LONGEST_ID], address)
        if client and client.guessable:
            wait = max(pairs.wait(pair, ticks), self._by_address.wait(address, ticks))
            if wait:
                raise SlowDownError(wait)
        if is_secret_of(client, grant.client_secret):
            assert client
            pairs.succeeded(pair)
            return client
        if wait := pairs.wait(pair, ticks):
            raise SlowDownError(wait)
        wait = self._by_address.wait(address, ticks)
        pairs.failed(pair, ticks)
        self._by_address.failed(address, ticks)
        if wait:
            raise SlowDownError(wait)
        message = (
            "The client does not exist or its secret is wrong. For new ones: wirekey agents rotate NAME --oauth-client."
        )
        raise TokenRequestError("invalid_client", message, 401)

    def _grant(self, client: OAuthClient, grant: ClientCredentialsGrant, now: float) -> LocalResponse:
        agent = client.agent
        for name in grant.scope or ():
            if name not in agent.permissions:
                raise TokenRequestError(
                    "invalid_scope", f"The agent {agent.id} has these permissions: {' '.join(agent.permissions)}."
                )
        granted = [name for name in agent.permissions if grant.scope is None or name in grant.scope]
        lifetime = max(1, math.floor(self.settings.lifetime))
        issued = math.floor(now)
        ends = issued + lifetime
        if client.expires is not None:
            ends = max(issued + 1, min(ends, math.floor(client.expires)))
        claims = {
            "iss": self.settings.issuer,
            "aud": self.settings.audience,
            "sub": agent.id,
            "client_id": client.id,
            "iat": issued,
            "nbf": issued,
            "exp": ends,
            "jti": secrets.token_urlsafe(16),
            "permissions": granted,
            **({"role": agent.role} if agent.role else {}),
            **({"type": agent.type} if agent.type else {}),
        }
        content = {
            "access_token": self._keys.sign(claims),
            "token_type": "bearer",
            "expires_in": ends - issued,
            "scope": " ".join(granted),
        }
        return local_json(200, content)


class SlowDownError(Exception):
    """Too many failures. `seconds`: the wait until the next attempt."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds
