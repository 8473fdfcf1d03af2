"""Metrics for Prometheus, which the console serves at /metrics.

`addon` counts calls with `call_metrics`, `session_metrics` and `label_metrics`, whose families are in `tallies`.
`condition` has the state of the process, `scrape` the page, and `merging` the counts of several workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what metrics add to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.core.addons.order import AddedAddon
    from wirekey.core.calls.feature_values import ConfiguredValue
    from wirekey.features.metrics.config import MetricsSettings, metric_labels

    return (
        AddedSettings({"console": MetricsSettings}),
        ConfiguredValue(metric_labels),
        AddedAddon("Audit", make_addon),
    )


def make_addon(services: Services, order: AddonOrder) -> Addon:
    """Return the addon: counts the calls for /metrics."""
    from wirekey.features.metrics.addon import Metrics

    return Metrics(services, order)


FEATURE = Feature("metrics", parts)
