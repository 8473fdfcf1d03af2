"""A WebSocket whose call is lost is not opened, or is closed with an internal error."""

from mitmproxy.test import tflow

from wirekey.core.calls.services import Services
from wirekey.features.realtime.http_conversations import HttpConversations
from wirekey.features.realtime.websocket_call import OpenedCalls


def test_a_websocket_whose_call_is_lost_is_not_accepted_or_is_closed_with_an_internal_error():
    calls, flow = OpenedCalls(Services(), HttpConversations()), tflow.tflow()
    assert calls.key_to_accept(flow) is None  # the request then has no body, and is refused
    assert calls.session(flow) is None  # the wire layer then refuses the call
    assert calls.closing(flow) == (1011, "wirekey_error")
