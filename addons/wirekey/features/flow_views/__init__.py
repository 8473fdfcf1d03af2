"""Calls as mitmweb and dumps show them: a marker and a comment on each flow, and the text of streams that were kept.

`addon` marks flows, with the texts of `comment`. `content_views` shows streams, which `stream_text` reads.
`recent_flows` bounds the memory of mitmweb's page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from mitmproxy.addons.view import View

    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what the views of flows add to the core."""
    from wirekey.core.addons.order import AddedAddon
    from wirekey.server.feature_parts import PageAddon

    return AddedAddon("Audit", make_addon), PageAddon(make_page_addon)


def make_addon(services: Services, _: AddonOrder) -> Addon:
    """Return the addon: what mitmweb and dumps show of the call."""
    from wirekey.features.flow_views.addon import FlowComments

    return FlowComments(services)


def make_page_addon(services: Services, view: View) -> Addon:
    """Return the addon of mitmweb's page: removes old flows."""
    from wirekey.features.flow_views.recent_flows import RecentFlows

    return RecentFlows(services, view)


FEATURE = Feature("flow_views", parts)
