"""What the stations need of the configuration, ready to use: resolved keys, parsed upstreams, numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.wire.house import WireLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.credentials.aws import AwsCredentials
    from wirekey.credentials.pool import KeyPool


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a provider is dialled. `configured`: an operator named it, so a private address is allowed."""

    host: str
    port: int = 443
    configured: bool = False

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """One state of the configuration. Replaced whole, so that no call sees two."""

    hosts: Mapping[str, str]
    """Provider host → provider name."""
    pools: Mapping[str, KeyPool]
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    """Provider name → where it is dialled instead of its own host."""
    aws: AwsCredentials | None = None
    """What Bedrock's calls are signed with, where it has no API key."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Provider name → client or passthrough, for those whose key the client holds."""
    limits: WireLimits = field(default_factory=WireLimits)
    header_count: int = 100
    connections_per_client: int = 256
    other_hosts: str = "tunnel"
    identity_required: bool = True
    ask_stream_usage: bool = True
    model_override: str | None = None
    simulated: bool = False
    own_ports: frozenset[int] = frozenset()
