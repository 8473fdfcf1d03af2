"""One way to send a call: model, upstream and keys. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from wirekey.feature import NO_VALUES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.config.operator_functions import CredentialMaker
    from wirekey.core.credentials.aws import AwsCredentialCache
    from wirekey.core.credentials.pool import KeyPool
    from wirekey.core.errors import Refusal
    from wirekey.core.model_name import ModelName
    from wirekey.core.routing.account_health import AccountHealth
    from wirekey.feature import FeatureValues

Auth = Literal[
    "provider",
    "bearer",
    "x-goog-api-key",
    "x-api-key",
    "sigv4",
    "none",
    "client",
    "passthrough",
    "extension",
    "account",
]
"""How a credential is added. provider: where that provider looks for it; Bedrock's calls are signed if there is no
key. client and passthrough: the client's own. extension: by a function of the operator. account: by the token of a
backend's account."""

TAKES_KEY = ("provider", "bearer", "x-goog-api-key", "x-api-key", "account")


@dataclass(frozen=True, slots=True)
class Upstream:
    """The address of a provider. `configured`: the configuration names it, so a private address is allowed."""

    host: str
    port: int = 443
    configured: bool = False
    path: str = ""
    """The prefix of the path of each call: `/api`."""
    tls: bool = True

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that one attempt may take. None: as for every call."""

    connect: float | None = None
    first_byte: float | None = None
    idle: float | None = None
    total: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Failover:
    """The limits of retries, as in the setting `failover`. `max_attempts` includes the first attempt.

    No attempt begins later than `max_seconds` after the start of the first. `max_retry_after`: the longest Retry-After,
    in seconds, that Wirekey waits for; 0 if it never waits.
    """

    max_attempts: int = 3
    max_seconds: float = 60.0
    max_retry_after: float = 2.0


class Accounts(Protocol):
    """The accounts of a backend. Each is a key of a pool. One that cools down is never used."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the backend lists."""

    @property
    def fallback(self) -> str | None:
        """The model for calls whose accounts are all limited, or None."""

    def pool(self, model: str) -> KeyPool:
        """Return the accounts for a model."""

    async def learn(self, pool: KeyPool) -> None:
        """Ask other processes which accounts of a pool are limited."""

    def no_account(self) -> Refusal:
        """Return the refusal of a call for which there is no account."""

    def all_limited(self, model: str) -> Refusal:
        """Return the refusal of a call whose accounts all cool down."""

    def health(self, now: float) -> Sequence[AccountHealth]:
        """Return the health of each account. `now`: a time of the monotonic clock."""

    def trouble(self, now: float) -> str | None:
        """Return why no account can be used, in words without names; None if one can."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One way to send a call. `provider` says which format is used, and whose keys these are."""

    provider: str
    auth: Auth = "provider"
    upstream: Upstream | None = None
    """None: the provider's own host."""
    backend: str | None = None
    """The backend that serves the call, such as `gemini-cli-acp`; None: the provider itself."""
    model: ModelName | None = None
    """The model to send; None: as asked."""
    usual_model: ModelName | None = None
    """The model of a backend for calls whose model is not its provider's."""
    listed: tuple[str, ...] = ()
    """The models that a backend lists."""
    pool: KeyPool | None = None
    maker: CredentialMaker | None = None
    limits: Limits = NO_LIMITS
    route: str | None = None
    """Label of the route, such as `routes[2]`."""
    failover: Failover | None = None
    """Further attempts; None: as for every call."""
    aws: AwsCredentialCache | None = None
    """The AWS credentials of the route; None: as for every call."""
    region: str | None = None
    """The AWS region of the route; None: the one that the program calls."""
    location: str | None = None
    """The location of Google Cloud of the route; None: the one that the program calls, or the provider's first."""
    without_key: bool = False
    """Whether the provider's calls without a key have another credential: AWS credentials, or a token of Google's."""
    renews_token: bool = False
    """Whether the provider's own credential is a token, which is replaced once if the upstream rejects it."""
    is_own_server: bool = False
    """Whether the route names the server, so that it may be of another maker than the provider whose format it has."""
    speaks: str | None = None
    """The format that the request is translated to; None: the client's own."""
    asks_usage: bool | None = None
    """Whether streams are asked for their token counts; None: as for every call."""
    features: FeatureValues = NO_VALUES
    """The settings that features have added to the route."""
    accounts: Accounts | None = None
    """The accounts of a backend, which are the keys of the pool."""
    operations: frozenset[str] | None = None
    """The operations that a backend offers in its provider's format, and others only by translation; None: all."""
    is_billed: bool = True
    """Whether its calls are billed by the provider's prices."""
    if_limited: bool = False
    """Whether this is tried only when every account before it is limited."""

    @property
    def takes_key(self) -> bool:
        """Whether a key of a pool is sent."""
        return self.auth in TAKES_KEY
