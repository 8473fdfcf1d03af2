"""mitmweb shows the latest flows, and keeps at most a fixed number of them."""

from __future__ import annotations

from mitmproxy.addons.view import View
from mitmproxy.test import taddons, tflow

from wirekey.core.calls.services import Services
from wirekey.features.flow_views.recent_flows import RecentFlows


async def test_the_oldest_completed_flows_are_removed_first_and_live_flows_stay():
    view = View()
    recent = RecentFlows(Services(), view, kept=10, at_once=5)
    with taddons.context(view):
        flows = [tflow.tflow(resp=True) for _ in range(40)]
        for flow in flows:
            flow.live = flow is flows[0]
            view.requestheaders(flow)
            recent.response(flow)
            assert view.store_count() <= 10 + 5 + 1
        held = view.resolve("@all")
    assert flows[0] in held
    assert flows[-1] in held
    assert flows[1] not in held
