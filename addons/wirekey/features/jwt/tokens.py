"""Finds the agent of a JWT. A token is verified once and then found by its hash until it expires."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from wirekey.core.call import Agent
from wirekey.core.identity.tokens import token_digest
from wirekey.features.jwt import KIND
from wirekey.features.jwt.derived_keys import DerivedSigningKeys
from wirekey.features.jwt.issuers import LEEWAY, TokenIssuer, external_agent, external_issuer, own_issuer
from wirekey.features.jwt.jwks_fetching import FetchedKeys
from wirekey.features.jwt.reading import RefusedTokenError, UnverifiedToken, read
from wirekey.features.jwt.signing_keys import JwtSigningKeys, SigningKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.identity.installation_keys import MasterSecret
    from wirekey.features.jwt.config import JWTConfig
    from wirekey.features.jwt.issuers import LabelPaths
    from wirekey.features.jwt.jwk import VerificationKey
    from wirekey.features.jwt.jwks_fetching import Fetch

MAX_REMEMBERED = 10_000
"""Verified tokens that are kept. Beyond this, the oldest has to be verified again."""
KEYS_FILE = "jwt-keys.json"


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedToken:
    """The content of a verified token. It contains no secret, so a tunnel may keep it.

    `agent` is the agent that the token names. For Wirekey's own tokens, `client_id` finds the agent in the AgentStore.
    """

    kind: ClassVar[str] = KIND
    issuer: TokenIssuer
    ends: float
    thumbprint: str
    agent: Agent
    client_id: str | None
    trust: Trust

    def find_agent(self, agents: AgentStore, now: float) -> Agent | None:
        """Return the agent that it identifies, or None if it is no longer valid at `now` (Unix seconds)."""
        return self.trust.jwts.find_agent(self, now)

    def values(self) -> Any:
        """Return it as JSON values, for other processes."""
        return [self.issuer.name, self.ends, self.thumbprint, self.agent, self.client_id]


@dataclass(slots=True, eq=False)
class Trust:
    """The issuers that are trusted now. A reload of the configuration replaces `jwts`."""

    jwts: JwtTokens


class JwtTokens:
    """The trusted issuers and the verified tokens. For the event loop's thread."""

    def __init__(
        self,
        issuers: Iterable[TokenIssuer],
        agents: AgentStore,
        verified: dict[bytes, VerifiedToken] | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._agents = agents
        self.remembered = {} if verified is None else verified
        self.trust = trust or Trust(self)

    def issuer(self, name: str) -> TokenIssuer | None:
        """Return the trusted issuer of a name, or None."""
        return self._issuers.get(name)

    @classmethod
    def of_settings(
        cls,
        settings: JWTConfig,
        agents: AgentStore,
        keys: SigningKeys | None,
        fetch: Fetch,
        previous: JwtTokens | None = None,
        *,
        label_claims: LabelPaths = (),
    ) -> JwtTokens:
        """Build the issuers of a configuration. Unchanged ones are kept from `previous`, with their keys.

        `keys` None: Wirekey issues no tokens. Raises IssuerError.
        """
        earlier = [issuer for issuer in previous.issuers if issuer.label_claims == label_claims] if previous else []
        kept = {issuer.settings: issuer for issuer in earlier if issuer.settings}
        issuers = [
            kept.get(other) or external_issuer(other, fetch, label_claims) for other in settings.external_issuers
        ]
        if keys:
            own = own_issuer(settings, keys)
            same = (
                next((issuer for issuer in previous.issuers if is_same_own_issuer(issuer, own)), None)
                if previous
                else None
            )
            issuers.append(same or own)
        if previous is None:
            return cls(issuers, agents)
        return cls(issuers, agents, previous.remembered, previous.trust)

    def trust_these(self) -> None:
        """Trust these issuers instead of those of the configuration before."""
        self.trust.jwts = self

    @property
    def issuers(self) -> tuple[TokenIssuer, ...]:
        """The trusted issuers."""
        return tuple(self._issuers.values())

    def keep_fresh(self) -> None:
        """Refresh the keys of all issuers. Call it twice a second, within the event loop. Never raises."""
        for issuer in self._issuers.values():
            if isinstance(issuer.keys, FetchedKeys):
                issuer.keys.keep_fresh()
            elif isinstance(issuer.keys, SigningKeys):
                issuer.keys.refresh()

    def find(self, digest: bytes, now: float) -> Agent | None:
        """Return the agent of a token verified before, by its `tokens.token_digest`, or None if it is not valid now."""
        token = self.remembered.get(digest)
        return self.find_agent(token, now) if token else None

    def find_agent(self, token: VerifiedToken, now: float) -> Agent | None:
        """Return the agent a token identifies, or None if it has expired or its key, client or agent was revoked."""
        issuer = token.issuer
        if token.ends + LEEWAY <= now or self._issuers.get(issuer.name) is not issuer:
            return None
        if not issuer.keys.holds(token.thumbprint):
            return None
        if token.client_id is None:
            return None if self._agents.has(token.agent.id) else token.agent
        client = self._agents.find_client(token.client_id, now)
        if client is None or client.agent.id != token.agent.id:
            return None
        agent, granted = client.agent, token.agent.permissions
        if agent.permissions == granted:
            return agent
        return replace(agent, permissions=tuple(name for name in agent.permissions if name in granted))

    async def identify(self, token: str, now: float | None = None) -> VerifiedToken:
        """Verify a token, or find it among the verified ones. Raises RefusedTokenError.

        Waits only if a key has to be fetched.
        """
        digest = token_digest(token)
        known = self.remembered.get(digest)
        if known is None or not self._is_current(known):
            known = await self._verify(read(token), now)
            self._remember(digest, known)
        now = time.time() if now is None else now
        if self.find_agent(known, now) is None:
            raise RefusedTokenError(self._reason(known, now))
        return known

    def _is_current(self, known: VerifiedToken) -> bool:
        return self._issuers.get(known.issuer.name) is known.issuer

    async def _verify(self, token: UnverifiedToken, now: float | None) -> VerifiedToken:
        name = token.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise RefusedTokenError("is from an issuer that is not known here")
        if token.algorithm not in issuer.algorithms:
            raise RefusedTokenError("is signed by an algorithm that is not its issuer's")
        key = await self._key(issuer, token)
        if not key.verifies(token.algorithm, token.signed, token.signature):
            raise RefusedTokenError("has a signature that is not its issuer's")
        issuer.check_type(token.type)
        ends = issuer.check_claims(token.claims, time.time() if now is None else now)
        if issuer.settings:
            agent = external_agent(token.claims, issuer.settings, issuer.label_claims)
            return VerifiedToken(issuer, ends, key.thumbprint, agent, None, self.trust)
        client_id, granted = token.claims.get("client_id"), token.claims.get("permissions")
        if not isinstance(client_id, str) or not isinstance(granted, list):
            raise RefusedTokenError("does not name the client that it was issued to")
        agent = Agent(token.claims["sub"], permissions=tuple(granted))
        return VerifiedToken(issuer, ends, key.thumbprint, agent, client_id, self.trust)

    async def _key(self, issuer: TokenIssuer, token: UnverifiedToken) -> VerificationKey:
        key = issuer.keys.find(token.kid, token.algorithm)
        if key is None and isinstance(issuer.keys, FetchedKeys):
            await issuer.keys.fetch_again()
            key = issuer.keys.find(token.kid, token.algorithm)
        elif key is None and isinstance(issuer.keys, SigningKeys):
            issuer.keys.refresh()
            key = issuer.keys.find(token.kid, token.algorithm)
        if key is None:
            raise RefusedTokenError("is signed with a key that is not its issuer's, as far as is known here")
        return key

    def _remember(self, digest: bytes, token: VerifiedToken) -> None:
        self.remembered.pop(digest, None)
        while len(self.remembered) >= MAX_REMEMBERED:
            del self.remembered[next(iter(self.remembered))]
        self.remembered[digest] = token

    def _reason(self, token: VerifiedToken, now: float) -> str:
        if token.ends + LEEWAY <= now:
            return "has expired; get a new one"
        if not token.issuer.keys.holds(token.thumbprint):
            return "is signed with a key that its issuer took back; get a new one"
        if token.client_id is None:
            return (
                "names an agent that was added to Wirekey, which its issuer must not name. To use both, set a prefix "
                "for the issuer in identity.jwt.issuers"
            )
        return "was issued to an agent that was revoked, or for client credentials that were replaced"


def is_same_own_issuer(one: TokenIssuer, other: TokenIssuer) -> bool:
    """Return whether an issuer is Wirekey itself, with the same settings."""
    return one.is_own and (one.name, one.audience, one.max_lifetime, one.keys) == (
        other.name,
        other.audience,
        other.max_lifetime,
        other.keys,
    )


def signing_keys(settings: JWTConfig, state: Path, masters: Sequence[MasterSecret] = ()) -> SigningKeys | None:
    """Return the signing keys, or None if Wirekey issues no tokens. Raises JwtSigningKeysError.

    They derive from the master secrets if there are any, and otherwise are those of the state folder.
    """
    if not settings.issues_tokens:
        return None
    if masters:
        return DerivedSigningKeys(masters, settings.lifetime)
    return JwtSigningKeys(state / KEYS_FILE, settings.lifetime)
