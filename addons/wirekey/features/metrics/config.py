"""The settings of the metrics in the group `console`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.identity import LabelName
from wirekey.config.values import Network

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from wirekey.config import Config
    from wirekey.config.console import ConsoleConfig


MOST_LABELS = 4


class MetricsSettings(ConfigGroup):
    """The settings that are added to `console`."""

    metrics_from: tuple[Network, ...] = Field(
        default=(),
        description="Networks whose machines may read `/metrics`, such as that of Prometheus. They see which agent "
        "calls which model and what it costs. Programs of this machine always may.",
        examples=[["10.1.0.0/24"]],
    )
    metrics_labels: tuple[LabelName, ...] = Field(
        default=(),
        max_length=MOST_LABELS,
        description=f"Labels by which `/metrics` counts calls, tokens and cost, at most {MOST_LABELS}. Choose labels "
        "with few values, such as `team`, never `session` or `run`. Without this setting, no label is in the metrics.",
        examples=[["team"]],
    )


@dataclass(frozen=True, slots=True)
class Readers:
    """Networks whose machines may read the metrics, and by which host names. Programs of this machine always may."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricLabels:
    """The names of the labels by which calls are counted."""

    names: tuple[str, ...]


def metric_labels(config: Config) -> MetricLabels | None:
    """Return the labels by which calls are counted, or None without any."""
    names = config.console.part(MetricsSettings).metrics_labels
    return MetricLabels(tuple(dict.fromkeys(names))) if names else None


def readers(console: ConsoleConfig) -> Readers:
    """Return who may read the metrics by the setting `console`."""
    return Readers(console.part(MetricsSettings).metrics_from, console.names)
