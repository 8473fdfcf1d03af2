"""What issues JWTs and what believes them, made for one state of the configuration before anything uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.identity.jwks_fetching import https_fetch
from wirekey.identity.jwt_tokens import JwtTokens, signing_keys
from wirekey.identity.token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.config.jwt import JWT
    from wirekey.identity.agents import AgentBook
    from wirekey.identity.jwt_keys import SigningKeys
    from wirekey.stations.house import House


@dataclass(frozen=True, slots=True)
class TokenDesk:
    """`keys` None: no token was issued by this process yet."""

    settings: JWT
    keys: SigningKeys | None
    jwts: JwtTokens

    @classmethod
    def prepare(
        cls, settings: JWT, book: AgentBook, state: Path, upstream_ca: Path | None, former: TokenDesk | None = None
    ) -> TokenDesk:
        """Read and make what the settings name, keeping of the `former` what they leave as it was. Blocks.

        Raises IssuerError, SigningKeysError, OSError; the former one is as good as before then.
        """
        keys = (former.keys if former else None) or signing_keys(settings, state)
        issuing = keys if settings.issues else None
        jwts = JwtTokens.of_settings(settings, book, issuing, https_fetch(upstream_ca), former.jwts if former else None)
        return cls(settings, keys, jwts)

    def open(self, house: House) -> None:
        """Let the house use it. Raises nothing."""
        house.jwts = self.jwts
        if self.keys is None or not self.settings.issues:
            house.token_endpoint = None
            return
        self.keys.lifetime = self.settings.lifetime
        if house.token_endpoint:
            house.token_endpoint.settings = self.settings
        else:
            house.token_endpoint = TokenEndpoint(self.settings, self.keys, house.book)
