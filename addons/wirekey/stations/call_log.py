"""A line of the log for each call, and the call's id for what else is logged on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.call import under_way
from wirekey.observing.call_lines import CallLines
from wirekey.stations.station import Station, fail_closed, keep_going

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.stations.house import House


class CallLog(Station):
    """Comes before the stations that could have something to say. Each hook runs in a context of its own.

    In that of `requestheaders` and `http_connect` the house names the call, as it opens it.
    """

    def __init__(self, house: House) -> None:
        super().__init__(house)
        house.activity.watchers.append(CallLines())

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        self.name_call(flow)

    @keep_going
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        self.name_call(flow)

    @keep_going
    def response(self, flow: http.HTTPFlow) -> None:
        self.name_call(flow)

    @keep_going
    def error(self, flow: http.HTTPFlow) -> None:
        self.name_call(flow)

    def name_call(self, flow: http.HTTPFlow) -> None:
        if passage := self.house.passages.get(flow.id):
            under_way.set(passage.call.id)
