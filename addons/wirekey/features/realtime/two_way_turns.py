"""The turns of a stream in two directions: each is decided, limited and recorded as a response within a WebSocket is.

A turn begins with the first input after the last one has ended, and waits there until its beginning is recorded. It
ends when the model has finished its response and has reported its tokens. A model that responds to input of an earlier
turn begins one that nobody asked for. That one cannot be prevented; if it is not allowed, the stream ends after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.call import Outcome
from wirekey.core.errors import INTERNAL_ERROR, Refusal
from wirekey.core.header_fields import by_name
from wirekey.core.operation import Facts
from wirekey.features.realtime.bedrock_stream import TwoWayStream
from wirekey.features.realtime.decisions import MessageDecision, PendingDecision
from wirekey.features.realtime.messages import Reports
from wirekey.features.realtime.protocols import protocol_of
from wirekey.features.realtime.response_calls import RESPONSE, RealtimeResponse
from wirekey.features.realtime.session import RealtimeSession

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.operation import ResponseReader
    from wirekey.features.realtime.messages import ServerMessage


class TwoWayTurns:
    """The turns of one stream."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session

    @property
    def is_open(self) -> bool:
        """Return whether a turn has begun and not ended."""
        return bool(self.session.requested or self.session.running)

    def decide(self, payload: bytes | memoryview) -> PendingDecision | None:
        """Decide on a verified event of the client.

        Return None if it may be sent, or what must be waited for. Raises Refusal if no further turn is allowed.
        """
        if self.is_open:
            return None
        if refusal := self.due():
            raise refusal
        decision = self.session.decide(bytes(payload))
        return None if isinstance(decision, MessageDecision) else PendingDecision(decision)

    def carry_out(self, pending: PendingDecision) -> None:
        """Raise Refusal unless the event that was waited for may be sent."""
        if not pending.decision.forward:
            raise self.session.refusal or INTERNAL_ERROR

    def due(self) -> Refusal | None:
        """Return why the stream must end now: its last turn was not allowed."""
        if self.session.closing is None or self.is_open:
            return None
        return self.session.refusal or INTERNAL_ERROR

    def observe(self, message: ServerMessage) -> None:
        """Note the beginning or the end of a response of the model."""
        if message.reports is Reports.BEGAN:
            self.session.began(message)
        else:
            self.session.ended(message)

    def end(self, outcome: Outcome, reader: ResponseReader | None) -> None:
        """Record what has not ended with the stream, and tokens that were reported after the last turn."""
        session = self.session
        stream = reader if isinstance(reader, TwoWayStream) else None
        usage = stream.take_usage() if stream else None
        begun, requested = list(session.running.values()), list(session.requested)
        session.running.clear()
        session.requested.clear()
        for response in [*begun, *requested]:
            response.state.call.usage, usage = usage, None
        if usage and (usage.input_tokens or usage.output_tokens):
            response = RealtimeResponse(session.open(RESPONSE, Facts(stream=True)))
            call = response.state.call
            call.policy_result, call.attempts, call.usage = "allow", 1, usage
            begun.append(response)
        is_whole = outcome is Outcome.COMPLETED
        for response in begun:
            unfinished = is_whole and stream is not None and not stream.finished
            response.state.has_all_counts = is_whole and not unfinished
            session.conclude(response, Outcome.TRUNCATED if unfinished else outcome)
        for response in requested:
            session.conclude(response, Outcome.CLIENT_CANCELLED if is_whole else outcome)


def turns_of(services: Services, flow: http.HTTPFlow, state: CallState) -> TwoWayTurns:
    """Return the turns of a stream in two directions, made when they are first needed."""
    turns = state.features.find(TwoWayTurns)
    if turns is None:
        headers = by_name(services.calls.request(flow).headers.fields)
        assert state.call.provider
        assert state.call.operation
        protocol = protocol_of(state.call.provider, state.call.operation.name)
        turns = TwoWayTurns(RealtimeSession(services, state, protocol, headers))
        state.features.put(turns)
        state.has_turns = True
    return turns
