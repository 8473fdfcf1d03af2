"""One open connection of many responses: decides what its client asks for, and records each response as a call.

The connection is a call of its own, whose event has no tokens. A response is recorded before it is asked for, with the
connection's id as its `parent_id`. Its state is kept with those of all calls, so that it is counted while the process
drains, and recorded as interrupted if the process ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.call import Call, Outcome, elapsed_ms
from wirekey.core.calls.agent_check import refusal_if_revoked
from wirekey.core.calls.state import CallState
from wirekey.core.errors import INTERNAL_ERROR, Refusal
from wirekey.core.metering.cost import cost_usd
from wirekey.core.metering.modifiers import merged, tier_of
from wirekey.core.operation import Facts, Operation, Usage
from wirekey.core.tracebacks import forget_frames, safe_traceback
from wirekey.features.realtime.closing import GOING_AWAY, POLICY_VIOLATION, TRY_AGAIN_LATER, close_code, close_reason
from wirekey.features.realtime.decisions import FORWARD, Closing, MessageDecision, WebSocketLimits
from wirekey.features.realtime.messages import Asks, ClientMessage, Reports
from wirekey.features.realtime.response_calls import (
    MOST_OPEN,
    OTHER_MODEL,
    RESPONSE,
    SETTINGS,
    TOO_MANY_OPEN,
    TRANSCRIPTION,
    RealtimeResponse,
    check_policy,
    record_intent,
)
from wirekey.features.realtime.session_input import SessionInput
from wirekey.providers.places import place_of
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping

    from wirekey.core.calls.services import Services
    from wirekey.core.policy.decision import Decision
    from wirekey.features.realtime.messages import RealtimeProtocol, ServerMessage

logger = logging.getLogger(__name__)

SWITCHING_PROTOCOLS = 101


class RealtimeSession:
    """Implements `wirekey.features.realtime.decisions.WebSocketSession` for one connection."""

    def __init__(
        self, services: Services, parent: CallState, protocol: RealtimeProtocol, headers: Mapping[str, str]
    ) -> None:
        self.services, self.parent, self.protocol, self.headers = services, parent, protocol, headers
        self.requested: deque[RealtimeResponse] = deque()
        """Responses that the client has asked for and the provider has not begun, in order."""
        self.running: dict[str, RealtimeResponse] = {}
        call = parent.call
        is_message = call.operation is not None and call.operation.body is Body.MESSAGE
        self.input = SessionInput(call.facts, (call.request_bytes or 0) if is_message else 0)
        self.transcription_model: str | None = None
        self.closing: Closing | None = None
        self.refusal: Refusal | None = None
        """The refusal of the last message or response that was not allowed."""
        self.has_announced_end = False
        self.is_flooded = False
        """Whether the provider has begun too many responses that have not ended."""
        self.tasks: set[asyncio.Task[None]] = set()

    # For the wire layer.

    @property
    def limits(self) -> WebSocketLimits:
        """The limits of the connection."""
        return self.services.settings.features.find(WebSocketLimits) or WebSocketLimits()

    @property
    def idle(self) -> float:
        """The seconds without a frame after which the connection is closed."""
        own = self.parent.attempt.limits if self.parent.attempt else None
        return (own or self.services.settings.limits).idle

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The secrets of the credential."""
        return self.parent.secrets

    def decide(self, payload: bytes) -> MessageDecision | Awaitable[MessageDecision]:
        """Decide on a message of the client."""
        try:
            message = self.protocol.read_client(payload)
        except Refusal as refusal:
            forget_frames(refusal)
            state = self.open(SETTINGS, Facts())
            return self.refused(state, refusal, None, closes=True)
        if message.asks is Asks.NOTHING:
            self.input.note(message, len(payload))
            return FORWARD
        return self.decide_later(payload, message)

    def observe(self, payload: bytes) -> None:
        """Learn from a message of the provider."""
        for found in self.protocol.read_server(payload):
            message = without_secrets(found, self.secrets)
            match message.reports:
                case Reports.BEGAN:
                    self.began(message)
                case Reports.COUNTED:
                    self.counted(message)
                case Reports.ENDED:
                    self.ended(message)
                case Reports.USED:
                    self.used(message)
                case Reports.FAILED:
                    self.failed(message)

    def notice(self) -> bytes | None:
        """Return the message that announces the end of the connection, once, if the process is about to end."""
        services = self.services
        if self.has_announced_end or not services.drain.has_begun:
            return None
        self.has_announced_end = True
        return self.protocol.going_away(max(0, int(services.drain.until - time.monotonic())))

    def due(self) -> Closing | None:
        """Return why the connection must be closed now, or None."""
        if self.services.drain.ends_calls:
            return Closing(GOING_AWAY, "Wirekey is stopping", Outcome.INTERRUPTED)
        if refusal_if_revoked(self.services.agents, self.parent):
            return Closing(POLICY_VIOLATION, "agent_revoked", Outcome.INTERRUPTED)
        if self.is_flooded:
            return Closing(POLICY_VIOLATION, TOO_MANY_OPEN.code, Outcome.UPSTREAM_ERROR)
        if self.running or self.requested:
            return None
        if self.closing:
            return self.closing
        if self.services.drain.has_begun:
            return Closing(GOING_AWAY, "Wirekey is stopping", Outcome.COMPLETED)
        return None

    def end(self, outcome: Outcome, reason: str | None, received: int, sent: int) -> None:
        """Record the responses that were not finished, and note the end of the connection."""
        call = self.parent.call
        left = [*self.running.values(), *self.requested]
        self.running.clear()
        self.requested.clear()
        for response in left:
            response.state.has_all_counts = False  # counts of its beginning may be there
            unfinished = Outcome.CLIENT_CANCELLED if outcome is Outcome.COMPLETED else outcome
            self.conclude(response, unfinished)
        call.request_bytes, call.response_bytes = received, sent
        call.outcome = call.outcome or outcome
        if outcome is not Outcome.COMPLETED:
            call.policy_reason = call.policy_reason or reason

    # Messages of the client.

    async def decide_later(self, payload: bytes, message: ClientMessage) -> MessageDecision:
        """Decide a message as a call is decided, and record the response that it asks for."""
        is_response = message.asks is Asks.RESPONSE
        facts = self.input.facts(message.facts) if is_response else message.facts
        state = self.open(RESPONSE if is_response else SETTINGS, facts)
        state.call.request_bytes = len(payload)
        try:
            cap = await self.admit(state)
            has_limit = is_response and self.parent.cap is not None and cap is not None and self.parent.cap <= cap
            sent = payload if cap is None or has_limit else self.protocol.with_limit(payload, message, cap)
            if is_response:
                self.check_open()
                if waiting := self.services.usage_limits.reserve_response(state, len(payload), cap, self.input.tokens):
                    await waiting
                await record_intent(self.services, state.call)
        except Exception as error:
            return self.refused_by(error, state, message)
        self.input.note(message, len(payload))
        if is_response:
            included = None if message.is_apart else self.input.begin(is_requested=True)
            self.requested.append(RealtimeResponse(state, message.event_id, included=included))
            self.services.calls.states[state.call.id] = state
        else:
            self.transcription_model = next(iter(message.facts.other_models), self.transcription_model)
            self.parent.call.model = self.parent.call.model or state.call.model
        return FORWARD if sent is payload else MessageDecision(forward=True, payload=sent)

    def open(self, operation: Operation, facts: Facts) -> CallState:
        """Return the state of a new call within the connection."""
        parent = self.parent.call
        own = parent.facts.model if parent.facts else None
        call = Call(
            client=parent.client,
            agent=parent.agent,
            header_labels=parent.header_labels,
            provider=parent.provider,
            method=parent.method,
            path=parent.path,
            operation=operation,
            facts=facts if facts.model else replace(facts, model=own),
            model=parent.model,
            route=parent.route,
            credential=parent.credential,
            upstream=parent.upstream,
            upstream_provider=parent.upstream_provider,
            simulated=parent.simulated,
            parent_id=parent.id,
        )
        return CallState(call, proof=self.parent.proof, host=self.parent.host)

    async def admit(self, state: CallState) -> int | None:
        """Decide on a call within the connection. Return the policy's limit of output tokens. Raises Refusal."""
        decision = await check_policy(self.services, self.parent, self.headers, state)
        self.check_model(state.call, decision)
        state.call.policy_result = "allow"
        return decision.max_tokens

    def check_model(self, call: Call, decision: Decision) -> None:
        """Raise Refusal if a message asks for a model that this connection does not lead to."""
        parent = self.parent.call
        assert call.facts
        wanted, opened = call.facts.model, parent.facts.model if parent.facts else None
        if decision.model not in (None, parent.model):
            raise OTHER_MODEL
        if wanted in (opened, parent.model) and not (wanted == opened != parent.model and call.operation is SETTINGS):
            return
        assert call.provider
        assert parent.operation
        candidates = self.services.settings.routes.candidates(
            call.provider, parent.operation, self.parent.original_target, wanted, None, call.agent
        )
        if parent.route is not None or candidates[0].route is not None or candidates[0].model is not None:
            raise OTHER_MODEL
        call.model = wanted

    def check_open(self) -> None:
        """Raise Refusal(429) if too many responses of the connection have not ended."""
        if len(self.requested) + len(self.running) + len(self.tasks) >= MOST_OPEN:
            raise TOO_MANY_OPEN

    def refused_by(self, error: Exception, state: CallState, message: ClientMessage | None) -> MessageDecision:
        """Record what kept a message from being decided or sent, and return it as the message for the client."""
        refusal = error if isinstance(error, Refusal) else INTERNAL_ERROR
        if refusal is INTERNAL_ERROR:
            logger.error("a message could not be decided: %s", safe_traceback(error))  # without its text
        forget_frames(error)
        return self.refused(state, refusal, message)

    def refused(
        self, state: CallState, refusal: Refusal, message: ClientMessage | None, *, closes: bool = False
    ) -> MessageDecision:
        """Record a refusal, and return it as the message for the client, or close the connection with it."""
        call = state.call
        self.refusal = refusal
        self.services.usage_limits.release(state)
        call.attempts = 0
        call.policy_result, call.outcome = "deny", Outcome.DENIED
        call.status, call.refusal_code = refusal.status, refusal.code
        call.policy_reason = f"{refusal.code}: {refusal.message}"
        self.services.calls.record(call)
        reply = self.protocol.error(refusal, message, call.id)
        if reply is not None and not closes:
            return MessageDecision(forward=False, reply=reply)
        closing = Closing(close_code(refusal.status), close_reason(refusal), Outcome.INTERRUPTED)
        return MessageDecision(forward=False, reply=reply, closing=closing)

    # Messages of the provider.

    def began(self, message: ServerMessage) -> None:
        """Note the beginning of a response: of the first that was asked for, or one that nobody asked for."""
        if message.id is None or message.id in self.running or self.floods():
            return
        response = self.requested.popleft() if self.requested else self.begun_by_model()
        response.state.call.ttfb_ms = elapsed_ms(response.state.call)
        self.running[message.id] = response

    def begun_by_model(self) -> RealtimeResponse:
        """Return a response that the model begins by itself, with the settings of the session."""
        response = self.unrequested(RESPONSE, self.input.facts(Facts(stream=True)))
        response.included = self.input.begin(is_requested=False)
        return response

    def floods(self) -> bool:
        """Return whether the provider has begun too many responses. The connection is then closed at once."""
        self.is_flooded = self.is_flooded or len(self.running) + len(self.tasks) >= 2 * MOST_OPEN
        return self.is_flooded

    def unrequested(self, operation: Operation, facts: Facts, lane: str | None = None) -> RealtimeResponse:
        """Return a response that the model begins by itself. It is decided and recorded at the same time."""
        response = RealtimeResponse(self.open(operation, facts), lane=lane)
        self.services.calls.states[response.state.call.id] = response.state
        response.admission = self.start(self.admit_unrequested(response))
        return response

    async def admit_unrequested(self, response: RealtimeResponse) -> None:
        """Decide on and record a response that the model begins by itself, as with voice activity detection.

        It cannot be prevented any more. If it is not allowed, the connection is closed after it.
        """
        state = response.state
        try:
            await self.admit(state)
            if waiting := self.services.usage_limits.reserve_response(state, 0, None, self.input.tokens):
                await waiting
        except Exception as error:
            refusal = error if isinstance(error, Refusal) else INTERNAL_ERROR
            forget_frames(error)
            self.refusal = refusal
            code = TRY_AGAIN_LATER if refusal.status == 429 else POLICY_VIOLATION
            self.closing = Closing(code, refusal.code, Outcome.INTERRUPTED)
            state.call.policy_result = "allow"
        try:
            await record_intent(self.services, state.call)
        except Refusal as refusal:
            forget_frames(refusal)
            self.refusal = refusal
            self.closing = Closing(TRY_AGAIN_LATER, refusal.code, Outcome.INTERRUPTED)

    def counted(self, message: ServerMessage) -> None:
        """Add tokens to those of a running response."""
        response = self.running.get(message.id or "")
        if response is None or message.usage is None:
            return
        call, usage = response.state.call, message.usage
        call.usage = call.usage.plus(usage) if call.usage else usage
        self.input.count(usage, response.included)

    def ended(self, message: ServerMessage) -> None:
        """Record the end of a response, with its usage."""
        self.counted(message)
        response = self.running.pop(message.id or "", None)
        if response is None:
            return
        call = response.state.call
        if not message.succeeded:
            call.policy_reason = call.policy_reason or message.error_type
        self.conclude(response, Outcome.COMPLETED if message.succeeded else Outcome.UPSTREAM_ERROR)

    def used(self, message: ServerMessage) -> None:
        """Record tokens that were used outside of a response."""
        state = self.open(TRANSCRIPTION, Facts(model=self.transcription_model))
        call = state.call
        call.model = self.transcription_model
        call.policy_result, call.attempts, call.usage = "allow", 1, message.usage
        self.conclude(RealtimeResponse(state), Outcome.COMPLETED)

    def failed(self, message: ServerMessage) -> None:
        """End the response whose request the provider refused, if one was."""
        if message.event_id is None and "response" not in (message.error_type or ""):
            return  # most likely about another event
        for response in self.requested:
            if response.event_id == message.event_id:
                self.requested.remove(response)
                response.state.call.policy_reason = message.error_type
                response.state.call.usage = Usage(input_tokens=0, output_tokens=0)
                self.conclude(response, Outcome.UPSTREAM_ERROR)
                return

    def conclude(self, response: RealtimeResponse, outcome: Outcome) -> None:
        """Record the end of a response, after its beginning was recorded."""
        if response.admission and not response.admission.done():
            self.start(self.conclude_later(response, outcome))
            return
        state = response.state
        call = state.call
        call.outcome, call.status = call.outcome or outcome, SWITCHING_PROTOCOLS
        name = call.upstream_provider or call.provider
        if call.usage and name:
            requested = call.facts.modifiers if call.facts else ()
            call.service_tier = tier_of(merged(requested, call.usage.modifiers)) or call.service_tier
            call.cost_usd = cost_usd(
                PROVIDERS[name], call.model, call.usage, call.facts, place_of(PROVIDERS[name], call.upstream)
            )
        if response.included is not None and (call.usage is None or call.usage.output_tokens is None):
            self.input.lose()
        self.services.usage_limits.settle(state)
        self.services.calls.states.pop(call.id, None)
        self.services.calls.record(call)

    async def conclude_later(self, response: RealtimeResponse, outcome: Outcome) -> None:
        """Record the end of a response once its beginning was recorded."""
        assert response.admission
        await asyncio.wait([response.admission])
        response.admission = None
        self.conclude(response, outcome)

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a task, and keep it until it has ended."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


def without_secrets(message: ServerMessage, secrets: tuple[bytes, ...]) -> ServerMessage:
    """Return a message of the provider without words that quote a secret, as they are recorded."""
    usage = message.usage
    words = (message.error_type, usage.finish_reason, usage.model) if usage else (message.error_type,)
    quoted = [word for word in words if word and any(secret.decode("latin-1") in word for secret in secrets)]
    if not quoted:
        return message
    if usage:
        kept = [None if word in quoted else word for word in (usage.finish_reason, usage.model)]
        usage = replace(usage, finish_reason=kept[0], model=kept[1])
    error = None if message.error_type in quoted else message.error_type
    return replace(message, error_type=error, usage=usage)
