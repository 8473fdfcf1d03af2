"""Conversations over WebSockets, and Bedrock's streams in two directions: each request and response as a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.addons.base import Addon
    from wirekey.addons.order import AddonOrder
    from wirekey.calls.conversations import Conversations
    from wirekey.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what realtime adds to the core."""
    from wirekey.addons.order import AddedAddon
    from wirekey.calls.conversations import AddedConversations

    return AddedAddon("Retry", make_addon), AddedConversations(make_conversations)


def make_addon(services: Services, _: AddonOrder) -> Addon:
    """Return the addon: waits for decisions on messages of open connections."""
    from wirekey.addons.realtime import Realtime

    return Realtime(services)


def make_conversations(services: Services) -> Conversations:
    """Return what carries the conversations of a process."""
    from wirekey.calls.carried_conversations import CarriedConversations

    return CarriedConversations(services)


FEATURE = Feature("realtime", parts)
