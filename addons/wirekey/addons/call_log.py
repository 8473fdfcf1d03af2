"""A line of the log for each call, and the call's id for what else is logged on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.addons.base import Addon
from wirekey.call import under_way
from wirekey.observing.call_lines import CallLines

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.calls.services import Services


class CallLog(Addon):
    """Comes before the stations that could have something to say. Each hook runs in a context of its own.

    In that of `requestheaders` and `http_connect` the house names the call, as it opens it.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        services.events.observers.append(CallLines())

    def request(self, flow: http.HTTPFlow) -> None:
        self.name_call(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        self.name_call(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        self.name_call(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self.name_call(flow)

    def name_call(self, flow: http.HTTPFlow) -> None:
        if state := self.calls.find(flow):
            under_way.set(state.call.id)
