"""What the stations need of the configuration, ready to use: resolved keys, parsed upstreams, numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.calls.client_connections import Deadlines
from wirekey.providers.json_size import VALUES_LIMIT
from wirekey.routing.candidate import Candidate, Upstream
from wirekey.routing.plan import Failover
from wirekey.routing.routes import Routes
from wirekey.wire.delegate import WireLimits

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from wirekey.credentials.aws import AwsCredentialCache
    from wirekey.credentials.pool import KeyPool

__all__ = ["Settings", "Upstream"]

NAMES = ("openai", "gemini", "anthropic", "bedrock")


def no_routes() -> Routes:
    """Give routes by which each call goes to the host that it called, and finds no key."""
    return Routes({name: Candidate(name) for name in NAMES})


@dataclass(frozen=True, slots=True)
class Settings:
    """One state of the configuration. Replaced whole, so that no call sees two."""

    hosts: Mapping[str, str]
    """Provider host → provider name."""
    pools: Mapping[str, KeyPool]
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    """Provider name → where it is dialled instead of its own host."""
    aws: AwsCredentialCache | None = None
    """What Bedrock's calls are signed with, where it has no API key."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Provider name → client or passthrough, for those whose key the client holds."""
    limits: WireLimits = field(default_factory=WireLimits)
    header_count: int = 100
    json_values: int = VALUES_LIMIT
    connections_per_client: int = 256
    deadlines: Deadlines = field(default_factory=Deadlines)
    held_bytes: int = 1024 * 1024 * 1024
    held_bytes_per_agent: int = 256 * 1024 * 1024
    disk_reserve: int = 64 * 1024 * 1024
    refusals_per_minute: int = 100
    other_hosts: str = "tunnel"
    allowed_hosts: re.Pattern[str] | None = None
    """Which other hosts are tunnelled to although `other_hosts` is deny."""
    identity_required: bool = True
    cors: frozenset[str] = frozenset()
    """Origins of web pages that may call."""
    gateway_names: frozenset[str] = frozenset()
    """Names of the gateway besides localhost, addresses and the provider hosts."""
    ask_stream_usage: bool = True
    routes: Routes = field(default_factory=no_routes)
    failover: Failover = field(default_factory=Failover)
    session_header: str | None = None
    """The header by which calls belong to one session, in lower case; None: the agent."""
    regions: tuple[str, ...] = ()
    """Of Bedrock; the first is the default."""
    pool: bool = True
    """Whether idle upstream connections are lent across clients."""
    simulated: bool = False
    own_ports: frozenset[int] = frozenset()

    @property
    def places(self) -> frozenset[tuple[str, int]]:
        """Where an operator said to dial: there a private address is allowed."""
        found = [*self.upstreams.values(), *(route.upstream for route in self.routes.routes)]
        return frozenset((upstream.host, upstream.port) for upstream in found if upstream)

    def may_tunnel_to(self, host: str, *, strict: bool = False) -> bool:
        """Return whether a host that is no provider's may be reached, as far as its name goes.

        `strict`: as if `other_hosts` were `deny`.
        """
        allowed = self.allowed_hosts
        return (self.other_hosts == "tunnel" and not strict) or (
            allowed is not None and allowed.fullmatch(host) is not None
        )

    @property
    def takes_client_keys(self) -> bool:
        """Whether a call may go out with a key that its client brought in a header made for that."""
        return "client" in self.credentials.values() or any(route.auth == "client" for route in self.routes.routes)

    def all_pools(self) -> dict[str, KeyPool]:
        """Give the pools of the providers by their names, and those that routes have of their own by the label."""
        return {**self.pools, **{route.label: route.pool for route in self.routes.routes if route.pool}}
