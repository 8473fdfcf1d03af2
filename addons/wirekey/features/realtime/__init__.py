"""Conversations over WebSockets, and Bedrock's streams in two directions: each request and response as a call.

`conversations` is what the core asks. `opening`, `first_message` and `relay` pass the frames of a WebSocket, and
`session` decides on its messages, with `response_calls`; `responses_session` does so where each is a request of its
own. `two_way_events` passes the events of a stream in two directions, whose turns `two_way_turns` decides. `protocols`
lists what is read of the messages of each provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature, Later

if TYPE_CHECKING:
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.conversations import Conversations
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what realtime adds to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.core.addons.order import AddedAddon
    from wirekey.core.calls.feature_values import ConfiguredValue
    from wirekey.core.calls.service_parts import AddedConversations
    from wirekey.features.realtime.config import WebSocketSetting

    return (
        AddedSettings({"limits": WebSocketSetting}),
        ConfiguredValue(Later(f"{__name__}.decisions", "configured_limits")),
        AddedAddon("Retry", make_addon),
        AddedConversations(make_conversations),
    )


def make_addon(services: Services, _: AddonOrder) -> Addon:
    """Return the addon: waits for decisions on messages of open connections."""
    from wirekey.features.realtime.addon import Realtime

    return Realtime(services)


def make_conversations(services: Services) -> Conversations:
    """Return what carries the conversations of a process."""
    from wirekey.features.realtime.conversations import CarriedConversations

    return CarriedConversations(services)


FEATURE = Feature("realtime", parts)
