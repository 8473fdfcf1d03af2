"""Logs a line for each call, and adds the id of the call to what else is logged on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.call import current_call_id
from wirekey.core.observing.log import CallLines

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.calls.services import Services


class CallLog(Addon):
    """Names the call to the log in each hook, and logs its end.

    mitmproxy runs each hook in a context of its own, so each has to set `current_call_id`. `Calls.open` does so in
    `requestheaders` and `http_connect`. This addon comes before the addons that may log something of the call.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        services.events.observers.append(CallLines())

    def request(self, flow: http.HTTPFlow) -> None:
        """Name the call to the log."""
        self.name_call(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Name the call to the log."""
        self.name_call(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """Name the call to the log."""
        self.name_call(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Name the call to the log."""
        self.name_call(flow)

    def name_call(self, flow: http.HTTPFlow) -> None:
        """Set the id of the call in the context of this hook."""
        if state := self.calls.find(flow):
            current_call_id.set(state.call.id)
