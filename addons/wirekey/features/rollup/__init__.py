"""Rollup of long conversations: their beginning is replaced with a text that Wirekey has stored.

After each response, the conversation with the response is kept as a text under the hash of its messages (`history`,
`answers`, `store`). In a later request, the longest stored beginning is replaced: its messages are removed, and the
text goes in front of the system prompt (`shortening`). A long conversation is summarised first (`summary`), by a call
that Wirekey makes on behalf of the agent (`own_calls`). These are rules without mitmproxy, except for the calls.
`addon` has the entries, and decides which requests are shortened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what rollup adds to the core."""
    from wirekey.config.feature_settings import ROUTES, TOP, AddedSettings
    from wirekey.core.addons.order import AddedAddon
    from wirekey.core.calls.feature_values import ConfiguredValue
    from wirekey.features.rollup.config import RollupOfRoute, RollupSetting
    from wirekey.features.rollup.settings import rollup_settings

    return (
        AddedSettings({TOP: RollupSetting, ROUTES: RollupOfRoute}),
        ConfiguredValue(rollup_settings),
        AddedAddon("Routing", make_addon),
    )


def make_addon(services: Services, order: AddonOrder) -> Addon:
    """Return the addon: which messages does a stored text replace; stores conversations after their responses."""
    from wirekey.features.rollup.addon import Rollup

    return Rollup(services, order)


FEATURE = Feature("rollup", parts)
