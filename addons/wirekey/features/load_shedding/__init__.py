"""Load shedding: while the event loop is late, new work is refused in a fixed order, so that accepted calls stay fast.

`stages` decides from measurements what is refused, `monitor` measures, `accepting` refuses new connections before
anything is made for them, and `addon` refuses requests on open ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature, Later

if TYPE_CHECKING:
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what load shedding adds to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.core.addons.order import AddedAddon
    from wirekey.core.calls.feature_values import ConfiguredValue
    from wirekey.features.load_shedding.config import LoadSheddingSetting, bounds
    from wirekey.features.load_shedding.reports import METRICS, NOTICES
    from wirekey.server.feature_parts import EventLoopPart, OpenedService

    monitor = f"{__name__}.monitor"
    return (
        AddedSettings({"limits": LoadSheddingSetting}),
        ConfiguredValue(bounds),
        OpenedService(Later(monitor, "open_monitor")),
        EventLoopPart(Later(monitor, "begin"), Later(monitor, "end")),
        AddedAddon("Gateway", make_addon),
        METRICS,
        NOTICES,
    )


def make_addon(services: Services, order: AddonOrder) -> Addon:
    """Return the addon: refuses connections and requests while the event loop is late."""
    from wirekey.features.load_shedding.addon import LoadShedding

    return LoadShedding(services, order)


FEATURE = Feature("load_shedding", parts)
