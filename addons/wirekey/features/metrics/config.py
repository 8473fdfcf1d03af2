"""The setting of the metrics in the group `console`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Network

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from wirekey.config.console import ConsoleConfig


class MetricsSetting(ConfigGroup):
    """The setting that is added to `console`."""

    metrics_from: tuple[Network, ...] = Field(
        default=(),
        description="Networks whose machines may read `/metrics`, such as that of Prometheus. They see which agent "
        "calls which model and what it costs. Programs of this machine always may.",
        examples=[["10.1.0.0/24"]],
    )


@dataclass(frozen=True, slots=True)
class Readers:
    """Networks whose machines may read the metrics, and by which host names. Programs of this machine always may."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    names: tuple[str, ...] = ()


def readers(console: ConsoleConfig) -> Readers:
    """Return who may read the metrics by the setting `console`."""
    return Readers(console.part(MetricsSetting).metrics_from, console.names)
