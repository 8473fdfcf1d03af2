"""The log of requests and responses with their bodies, in a file of its own, if `log.bodies` names one.

`addon` takes what it logs from calls, `log` writes it in a thread, with credentials masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what the log of bodies adds to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.core.addons.order import AddedAddon
    from wirekey.features.body_log import notices
    from wirekey.features.body_log.config import BodiesSetting, open_log
    from wirekey.server.feature_parts import Notices, OpenedService

    return (
        AddedSettings({"log": BodiesSetting}),
        OpenedService(open_log),
        AddedAddon("Metering", make_addon),
        Notices(notices.warnings, notices.banner, notices.notes),
    )


def make_addon(services: Services, _: AddonOrder) -> Addon:
    """Return the addon: logs requests and responses."""
    from wirekey.features.body_log.addon import BodyLogger

    return BodyLogger(services)


FEATURE = Feature("body_log", parts)
