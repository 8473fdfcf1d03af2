"""The trusted issuers of JWTs, their keys, and how their claims describe an agent. Reads key files; otherwise pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from wirekey.core.call import Agent
from wirekey.core.errors import UserError
from wirekey.core.identity.external_agents import AGENT_ID, LABEL
from wirekey.core.labels import checked
from wirekey.core.permissions import MAX_PERMISSIONS, PERMISSION
from wirekey.features.jwt.jwk import KeySetError, VerificationKey, key_of_pem
from wirekey.features.jwt.jwks_fetching import FetchedKeys
from wirekey.features.jwt.reading import RefusedTokenError
from wirekey.features.jwt.signing_keys import ALGORITHM, TYPE

if TYPE_CHECKING:
    from wirekey.core.labels import FoundLabels
    from wirekey.features.jwt.config import JWTClaimsConfig, JWTConfig, JWTIssuerConfig
    from wirekey.features.jwt.jwks_fetching import Fetch
    from wirekey.features.jwt.signing_keys import SigningKeys

type LabelPaths = tuple[tuple[str, tuple[str, ...]], ...]

ITEM = re.compile(r"0|[1-9][0-9]{0,3}", re.ASCII)
"""The number of an item of a list, in the path of a claim."""
LEEWAY = 30
"""Seconds by which clocks may differ."""
MOST_AUDIENCES = 32

PLAIN_TYPES = (None, "jwt", "at+jwt")
"""Types of tokens that identify a caller. Others, such as logout+jwt and dpop+jwt, have another purpose."""


class IssuerError(UserError):
    """A configured issuer cannot be used. The message says why."""


class VerificationKeys(Protocol):
    """The keys of one issuer, whether fixed, fetched, or Wirekey's own."""

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key for a token's header, without waiting, or None."""

    def holds(self, thumbprint: str) -> bool:
        """Return whether this key is still trusted."""


class StaticKey:
    """The one key of an issuer, whatever key id its tokens have."""

    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key if it fits the algorithm."""
        return self._key if algorithm in self._key.algorithms else None

    def holds(self, thumbprint: str) -> bool:
        """Return whether this is the key."""
        return thumbprint == self._key.thumbprint


@dataclass(frozen=True, slots=True, eq=False)
class TokenIssuer:
    """An issuer whose tokens are accepted. `settings` None: Wirekey itself.

    Wirekey's own tokens name an OAuth client, by which their agent is looked up.
    """

    name: str
    audience: str
    algorithms: tuple[str, ...]
    max_lifetime: float
    keys: VerificationKeys
    settings: JWTIssuerConfig | None = field(default=None, repr=False)
    label_claims: LabelPaths = ()
    """Label → the path of its claim, of tokens of other issuers."""

    @property
    def is_own(self) -> bool:
        """Whether Wirekey itself is the issuer."""
        return self.settings is None

    def check_type(self, type_: str | None) -> None:
        """Check the header's `typ`. Raises RefusedTokenError."""
        if type_ not in ((TYPE,) if self.is_own else PLAIN_TYPES):
            raise RefusedTokenError("is of a type that does not identify a caller")

    def check_claims(self, claims: dict[str, Any], now: float) -> int:
        """Check issuer, audience, subject and times of a token, and return when it expires (Unix seconds).

        PyJWT's options do not fit here: they read the clock themselves and accept times that are texts, fractions or
        booleans. Raises RefusedTokenError.
        """
        if claims.get("iss") != self.name:
            raise RefusedTokenError("is not from its issuer")
        self._check_audience(claims.get("aud"))
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise RefusedTokenError("does not name its subject in sub")
        issued, expires = timestamp_claim(claims, "iat"), timestamp_claim(claims, "exp")
        starts = timestamp_claim(claims, "nbf") if self._needs_nbf or "nbf" in claims else issued
        if expires + LEEWAY <= now:
            raise RefusedTokenError("has expired; get a new one")
        if max(issued, starts) > now + LEEWAY:
            raise RefusedTokenError("is not valid yet; compare the clocks")
        if expires <= issued or expires <= starts or expires - issued > self.max_lifetime:
            raise RefusedTokenError(f"is good for longer than {self.max_lifetime:g} s, or for no time at all")
        return expires

    @property
    def _needs_nbf(self) -> bool:
        return self.settings is None or self.settings.nbf_required

    def _check_audience(self, audience: Any) -> None:
        audiences = audience if isinstance(audience, list) and not self.is_own else [audience]
        if (
            len(audiences) > MOST_AUDIENCES
            or not all(isinstance(one, str) for one in audiences)
            or self.audience not in audiences
        ):
            raise RefusedTokenError("is not meant for this Wirekey: its audience differs")


def timestamp_claim(claims: dict[str, Any], name: str) -> int:
    """Return a claim that is a time in whole Unix seconds. Raises RefusedTokenError."""
    value = claims.get(name)
    if type(value) is not int or not 0 < value < 1 << 53:
        raise RefusedTokenError(f"does not have {name} as a whole number of seconds")
    return value


def external_agent(claims: dict[str, Any], settings: JWTIssuerConfig, label_claims: LabelPaths = ()) -> Agent:
    """Return the agent that the claims of an external token describe. Raises RefusedTokenError."""
    labels = labels_in(claims, label_claims)
    paths: JWTClaimsConfig = settings.claims
    name = find_claim(claims, paths.agent.names)
    if not isinstance(name, str) or not AGENT_ID.fullmatch(agent_id := f"{settings.prefix or ''}{name}"):
        raise RefusedTokenError(f"does not name the agent in {'.'.join(paths.agent.names)}")
    role, type_ = (single_value(claims, path.names) for path in (paths.role, paths.type))
    permissions = read_permissions(find_claim(claims, paths.permissions.names), settings.permissions)
    return Agent(agent_id, role, type_, permissions, labels=labels.accepted, invalid_labels=labels.invalid)


def labels_in(claims: dict[str, Any], paths: LabelPaths) -> FoundLabels:
    """Return the labels in claims. A value that is neither a text nor a whole number is not accepted."""
    found = [(name, value) for name, path in paths if (value := label_claim(claims, path)) is not None]
    return checked((name, str(value) if type(value) in (str, int) else "") for name, value in found)


def label_claim(claims: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Return the claim at a path of names and of numbers of items, or None if it is absent."""
    value: Any = claims
    for name in path:
        if isinstance(value, list) and ITEM.fullmatch(name):
            value = value[int(name)] if int(name) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(name)
        else:
            return None
    return value


def find_claim(claims: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return the claim at a path of names, or None if it is absent."""
    value: Any = claims
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def single_value(claims: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """Return a claim that is one word, or a list of one word, or None if it is absent. Raises RefusedTokenError."""
    value = find_claim(claims, names)
    if isinstance(value, list) and len(value) == 1:
        [value] = value
    if value is None or (isinstance(value, str) and LABEL.fullmatch(value)):
        return value
    raise RefusedTokenError(f"does not have one word in {'.'.join(names)}")


def read_permissions(value: Any, always: tuple[str, ...]) -> tuple[str, ...]:
    """Return all permissions, sorted, including those in `always`. Invalid ones are skipped.

    Raises RefusedTokenError.
    """
    names = value.split(" ") if isinstance(value, str) else [] if value is None else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RefusedTokenError("has permissions that are no list of texts")
    found = {name for name in names if PERMISSION.fullmatch(name)}.union(always)
    if len(found) > MAX_PERMISSIONS:
        raise RefusedTokenError(f"has more than {MAX_PERMISSIONS} permissions")
    return tuple(sorted(found))


def own_issuer(settings: JWTConfig, keys: SigningKeys) -> TokenIssuer:
    """Return Wirekey itself as an issuer."""
    return TokenIssuer(settings.issuer, settings.audience, (ALGORITHM,), settings.lifetime + LEEWAY, keys)


def external_issuer(settings: JWTIssuerConfig, fetch: Fetch, label_claims: LabelPaths = ()) -> TokenIssuer:
    """Return an issuer of the configuration. Raises IssuerError if its key file cannot be used."""
    keys: VerificationKeys
    if settings.key:
        try:
            keys = StaticKey(key_of_pem(settings.key.read_bytes(), settings.algorithms))
        except (OSError, KeySetError) as error:
            reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else error
            raise IssuerError(f"The key of the issuer {settings.issuer}: {settings.key} {reason}.") from error
    else:
        assert settings.jwks_url
        keys = FetchedKeys(settings.jwks_url, settings.algorithms, fetch)
    return TokenIssuer(
        settings.issuer, settings.audience, settings.algorithms, settings.max_lifetime, keys, settings, label_claims
    )
