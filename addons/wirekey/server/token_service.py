"""What issues JWTs and what believes them, made for one state of the configuration before anything uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.identity.jwks_fetching import https_fetch
from wirekey.identity.jwt_tokens import JwtTokens, signing_keys
from wirekey.identity.token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.calls.services import Services
    from wirekey.config.jwt import JWT
    from wirekey.identity.agents import AgentStore
    from wirekey.identity.jwt_keys import JwtSigningKeys


@dataclass(frozen=True, slots=True)
class TokenService:
    """`keys` None: no token was issued by this process yet."""

    settings: JWT
    keys: JwtSigningKeys | None
    jwts: JwtTokens

    @classmethod
    def prepare(
        cls,
        settings: JWT,
        agents: AgentStore,
        state: Path,
        upstream_ca_file: Path | None,
        previous: TokenService | None = None,
    ) -> TokenService:
        """Read and make what the settings name, keeping of the `former` what they leave as it was. Blocks.

        Raises IssuerError, SigningKeysError, OSError; the former one is as good as before then.
        """
        keys = (previous.keys if previous else None) or signing_keys(settings, state)
        issuing = keys if settings.issues else None
        jwts = JwtTokens.of_settings(
            settings, agents, issuing, https_fetch(upstream_ca_file), previous.jwts if previous else None
        )
        return cls(settings, keys, jwts)

    def open(self, services: Services) -> None:
        """Let the house use it. Raises nothing."""
        services.jwts = self.jwts
        if self.keys is None or not self.settings.issues:
            services.token_endpoint = None
            return
        self.keys.lifetime = self.settings.lifetime
        if services.token_endpoint:
            services.token_endpoint.settings = self.settings
        else:
            services.token_endpoint = TokenEndpoint(self.settings, self.keys, services.agents)
