"""The live page: calls, totals, keys, agents and what needs attention, for operators with a browser.

`addon` builds the page and serves it on the console's listener. `live` has its endpoints, `gate` and `sessions` decide
who may see it. `feed` sends the calls, `recorded` reads the audit, `trees` sums up runs and sessions, and `status` has
everything else. `page/` is what the browser runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import AddedCommand, Feature

if TYPE_CHECKING:
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what the live page adds to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.core.addons.order import AddedAddon
    from wirekey.features.console.config import PageSettings
    from wirekey.server.feature_parts import NextCommand

    return (
        AddedSettings({"console": PageSettings}),
        AddedAddon("Audit", make_addon),
        NextCommand("Open the live page", "console", "console"),
    )


def make_addon(services: Services, order: AddonOrder) -> Addon:
    """Return the addon: serves the live page, and shows it the calls."""
    from wirekey.features.console.addon import Console

    return Console(services, order)


COMMAND = AddedCommand("console", "Print a link to the live page.", f"{__name__}.command")
FEATURE = Feature("console", parts, (COMMAND,))
