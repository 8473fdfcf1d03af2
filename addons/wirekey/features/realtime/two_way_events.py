"""Passes the events of a stream in two directions on: verified, decided where a turn begins, and signed again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wirekey.core.calls.conversations import NOT_SIGNED
from wirekey.core.errors import Refusal
from wirekey.core.signing.event_signatures import EventResigner
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.wire.delegate import RequestRefused
from wirekey.features.realtime.decisions import DecideMessageHook
from wirekey.features.realtime.two_way_turns import turns_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitmproxy import http

    from wirekey.core.calls.calls import Calls
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState

UNRESERVED_BYTES = 64 * 1024
"""Bytes of an unfinished event up to which no memory is reserved."""


def events_to_send(
    services: Services, flow: http.HTTPFlow, state: CallState, data: bytes
) -> Iterator[bytes | DecideMessageHook]:
    """Yield the events that end in a part of the request, signed for the provider; b"" stands for the end.

    A decision must be waited for before the next event is taken. Raises RequestRefused at an event that does not
    verify, for which there is no memory, or that may not begin a turn.
    """
    resigner = state.features.find(EventResigner)
    if resigner is None:
        raise RequestRefused(NOT_SIGNED)
    try:
        if not data:
            resigner.end()
            return
        state.call.request_bytes = (state.call.request_bytes or 0) + len(data)
        turns = turns_of(services, flow, state)
        for event in resigner.feed(data, time.time()):
            if pending := turns.decide(resigner.payload):
                yield DecideMessageHook(pending)
                turns.carry_out(pending)
            yield event
        hold_unfinished(services.calls, flow, state, resigner)
    except SignatureRefused as refused:
        raise RequestRefused(Refusal(403, "signature_refused", refused.message, error_type=refused.code)) from None
    except Refusal as refusal:
        raise RequestRefused(refusal) from None


def hold_unfinished(calls: Calls, flow: http.HTTPFlow, state: CallState, resigner: EventResigner) -> None:
    """Reserve memory for a long unfinished event, or release it. Raises Refusal at its limits."""
    if resigner.held > UNRESERVED_BYTES:
        calls.reserve(flow, resigner.held)
    elif state.reserved:
        state.reserved.release()
