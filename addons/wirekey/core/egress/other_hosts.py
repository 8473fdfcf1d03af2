"""The hosts that belong to no provider, and whether a tunnel to one of them is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.egress.names import pattern_of
from wirekey.providers.model_hosts import reason_to_refuse_tunnel

if TYPE_CHECKING:
    import re
    from typing import Self

    from wirekey.config.egress import EgressConfig


@dataclass(frozen=True, slots=True)
class OtherHosts:
    """The setting `egress`, ready to use. `allowed`: hosts to which tunnels are allowed in any case."""

    denies: bool = False
    allowed: re.Pattern[str] | None = None

    @classmethod
    def of(cls, config: EgressConfig) -> Self:
        """Return the setting of a configuration."""
        return cls(config.other_hosts == "deny", pattern_of(config.allow))

    def allows(self, host: str) -> bool:
        """Return whether `egress.allow` lists a host."""
        return self.allowed is not None and self.allowed.fullmatch(host) is not None

    def reason_to_refuse(self, host: str, *, strict: bool) -> str | None:
        """Return why a tunnel to a host is refused, or None if it is not. `strict`: as if they were denied."""
        if self.allows(host):
            return None
        if strict or self.denies:
            reason = "the program runs with --strict" if strict else "egress.other_hosts is deny"
            return f"{host} is no provider host, {reason}, and egress.allow does not list it."
        return reason_to_refuse_tunnel(host)
