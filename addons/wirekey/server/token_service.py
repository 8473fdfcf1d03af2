"""Issues and verifies JWTs by one version of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.identity.jwt_tokens import JwtTokens, signing_keys
from wirekey.identity.token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.calls.services import Services
    from wirekey.config.jwt import JWTConfig
    from wirekey.identity.agents import AgentStore
    from wirekey.identity.jwks_fetching import Fetch
    from wirekey.identity.jwt_keys import SigningKeys


@dataclass(frozen=True, slots=True)
class TokenService:
    """The signing keys and the verifier of JWTs for one version of the configuration.

    `prepare` does everything that can fail. `open` then makes the services use it. `keys` is None if this process has
    never issued tokens.
    """

    settings: JWTConfig
    keys: SigningKeys | None
    jwts: JwtTokens

    @classmethod
    def prepare(
        cls,
        settings: JWTConfig,
        agents: AgentStore,
        state: Path,
        fetch: Fetch,
        previous: TokenService | None = None,
    ) -> TokenService:
        """Read the keys that the settings name. Blocks. `fetch` gets the keys of external issuers.

        Reuses the parts of `previous` that have not changed. `previous` stays usable if this fails. Raises IssuerError,
        JwtSigningKeysError, OSError.
        """
        keys = (previous.keys if previous else None) or signing_keys(settings, state, agents.masters)
        issuing = keys if settings.issues_tokens else None
        jwts = JwtTokens.of_settings(settings, agents, issuing, fetch, previous.jwts if previous else None)
        return cls(settings, keys, jwts)

    def open(self, services: Services) -> None:
        """Make `services` use these keys. Raises nothing."""
        services.jwts = self.jwts
        if self.keys is None or not self.settings.issues_tokens:
            services.token_endpoint = None
            return
        self.keys.lifetime = self.settings.lifetime
        if services.token_endpoint:
            services.token_endpoint.settings = self.settings
        else:
            services.token_endpoint = TokenEndpoint(self.settings, self.keys, services.agents)
