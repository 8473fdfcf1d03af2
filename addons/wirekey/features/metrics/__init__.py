"""Metrics for Prometheus, which the console serves at /metrics.

`addon` counts calls with `call_metrics` and `session_metrics`, whose families are in `tallies`. `condition` has the
state of the process, `scrape` the page, and `merging` the counts of several workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.addons.base import Addon
    from wirekey.addons.order import AddonOrder
    from wirekey.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what metrics add to the core."""
    from wirekey.addons.order import AddedAddon
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.features.metrics.config import MetricsSetting

    return AddedSettings({"console": MetricsSetting}), AddedAddon("Audit", make_addon)


def make_addon(services: Services, order: AddonOrder) -> Addon:
    """Return the addon: counts the calls for /metrics."""
    from wirekey.features.metrics.addon import Metrics

    return Metrics(services, order)


FEATURE = Feature("metrics", parts)
