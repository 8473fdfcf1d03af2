"""Issues and verifies JWTs by one version of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.call import Agent
from wirekey.core.errors import Refusal
from wirekey.features.jwt.config import JWTSetting, LabelClaims
from wirekey.features.jwt.jwks_fetching import https_fetch
from wirekey.features.jwt.reading import RefusedTokenError
from wirekey.features.jwt.token_endpoint import TOKEN_PATH, TokenEndpoint
from wirekey.features.jwt.token_routes import token_routes
from wirekey.features.jwt.tokens import JwtTokens, VerifiedToken, signing_keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.core.endpoints.reply import LocalHandler
    from wirekey.core.identity.agents import AgentStore
    from wirekey.feature import FeatureValues
    from wirekey.features.jwt.config import JWTConfig
    from wirekey.features.jwt.issuers import LabelPaths
    from wirekey.features.jwt.jwks_fetching import Fetch
    from wirekey.features.jwt.signing_keys import SigningKeys
    from wirekey.server.feature_parts import ServiceStart


@dataclass(frozen=True, slots=True)
class TokenService:
    """The signing keys and the verifier of JWTs for one version of the configuration.

    `prepare` does everything that can fail. `begin` then puts the settings in force. `keys` is None if this process has
    never issued tokens.
    """

    settings: JWTConfig
    keys: SigningKeys | None
    jwts: JwtTokens
    endpoint: TokenEndpoint | None = field(default=None, repr=False)
    """None if no tokens are issued here."""

    @classmethod
    def prepare(cls, start: ServiceStart) -> TokenService:
        """Read the keys that the settings name. Blocks. Raises IssuerError, JwtSigningKeysError, OSError."""
        fixed = start.started_with
        fetch = https_fetch(fixed.upstream_ca_file, start.proxy_for)
        settings = start.config.identity.part(JWTSetting).jwt
        named = start.config.identity.labels.part(LabelClaims).claims
        label_claims = tuple((label, claim.names) for label, claim in named.items())
        return cls.of_settings(
            settings, start.agents, fixed.state, fetch, start.previous.find(cls), label_claims=label_claims
        )

    @classmethod
    def of_settings(
        cls,
        settings: JWTConfig,
        agents: AgentStore,
        state: Path,
        fetch: Fetch,
        previous: TokenService | None = None,
        *,
        label_claims: LabelPaths = (),
    ) -> TokenService:
        """Read the keys that the settings name. Blocks. `fetch` gets the keys of external issuers.

        Reuses the parts of `previous` that have not changed. `previous` stays usable if this fails. Raises IssuerError,
        JwtSigningKeysError, OSError.
        """
        keys = (previous.keys if previous else None) or signing_keys(settings, state, agents.masters)
        issuing = keys if settings.issues_tokens else None
        jwts = JwtTokens.of_settings(
            settings, agents, issuing, fetch, previous.jwts if previous else None, label_claims=label_claims
        )
        endpoint = None
        if issuing:
            endpoint = (previous.endpoint if previous else None) or TokenEndpoint(settings, issuing, agents)
        return cls(settings, keys, jwts, endpoint)

    def begin(self) -> None:
        """Apply the settings. Raises nothing."""
        self.jwts.trust_these()
        if self.keys and self.endpoint:
            self.keys.lifetime = self.settings.lifetime
            self.endpoint.settings = self.settings


async def identify(opened: FeatureValues, token: str) -> VerifiedToken:
    """Return the content of a verified token. Raises Refusal."""
    service = opened.find(TokenService)
    assert service
    try:
        return await service.jwts.identify(token)
    except RefusedTokenError as error:
        raise Refusal(401, "refused_token", f"The JWT {error}.") from error


def restored_token(values: Any, opened: FeatureValues) -> VerifiedToken | None:
    """Return the token of its JSON values, or None if its issuer is not known here."""
    issuer, ends, thumbprint, agent, client_id = values
    service = opened.find(TokenService)
    known = service.jwts.issuer(issuer) if service else None
    if service is None or known is None:
        return None
    return VerifiedToken(known, ends, thumbprint, msgspec.convert(agent, Agent), client_id, service.jwts.trust)


def keep_fresh(opened: FeatureValues) -> None:
    """Refresh the keys of all issuers."""
    if service := opened.find(TokenService):
        service.jwts.keep_fresh()


def endpoint_of(opened: FeatureValues) -> TokenEndpoint | None:
    """Return the token endpoint, or None if this process issues no tokens."""
    service = opened.find(TokenService)
    return service.endpoint if service else None


def routes(opened: Callable[[], FeatureValues], _: Callable[[], int | None]) -> dict[str, LocalHandler]:
    """Return path → handler of the token endpoint."""
    return token_routes(lambda: endpoint_of(opened()))


def paths_in_use(opened: FeatureValues) -> tuple[str, ...]:
    """Return the path at which clients get tokens, if this process issues them."""
    return (TOKEN_PATH,) if endpoint_of(opened) else ()
