"""Traces: a span of OpenTelemetry for each call, if the environment names a collector.

`addon` starts and stops the export, `tracer` makes the spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what traces add to the core."""
    from wirekey.core.addons.order import AddedAddon

    return (AddedAddon("Audit", make_addon),)


def make_addon(services: Services, order: AddonOrder) -> Addon:
    """Return the addon: exports a span for each call."""
    from wirekey.features.traces.addon import Traces
    from wirekey.server.lifecycle import Lifecycle

    return Traces(services, order.get(Lifecycle))


FEATURE = Feature("traces", parts)
