"""One connection to OpenAI's Responses: each event that asks for a response is a call of its own.

Such a call has the facts, the operation and the method of `POST /v1/responses`, so that the same policies, routes and
quotas apply to it. Its route must lead to where the connection leads. Model and limits may be changed by the routes and
the policy, and nothing else is changed in its bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wirekey.core.body import Spool
from wirekey.core.body_reading.reading import ReadTask, check_values, is_costly
from wirekey.core.call import Outcome, elapsed_ms
from wirekey.core.calls.attempt import cannot_override, is_clamped
from wirekey.core.errors import Refusal
from wirekey.core.model_name import ModelName, ModelNameError, is_plain
from wirekey.core.operation import Facts, Usage
from wirekey.core.tracebacks import forget_frames
from wirekey.features.realtime.decisions import FORWARD, MessageDecision
from wirekey.features.realtime.messages import Asks
from wirekey.features.realtime.response_calls import (
    OTHER_MODEL,
    RealtimeResponse,
    check_policy,
    record_intent,
)
from wirekey.features.realtime.session import RealtimeSession
from wirekey.providers.registry import PROVIDERS, family_of
from wirekey.providers.request_edits import RequestEdits
from wirekey.providers.request_json import malformed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from mitmproxy import http

    from wirekey.core.body import RequestBody
    from wirekey.core.body_reading.reading import Reading
    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.operation import Operation
    from wirekey.core.policy.decision import Decision
    from wirekey.core.routing.candidate import Candidate
    from wirekey.features.realtime.decisions import WebSocketLimits
    from wirekey.features.realtime.http_conversations import HttpConversations
    from wirekey.features.realtime.messages import ClientMessage, RequestProtocol, ServerMessage

JSON = "application/json"
REMEMBERED = 64
"""Ended responses of a connection whose settings are kept, as an event may continue them."""
ELSEWHERE = Refusal(
    403,
    "route_needs_http",
    "The route of this model does not lead where this connection leads. Send the request by HTTP: POST /v1/responses.",
)
UNKNOWN_RESPONSE = Refusal(
    400, "unknown_response", "The event continues a response that this connection has not had lately. It was not sent."
)


@dataclass(frozen=True, slots=True)
class EndedResponse:
    """The settings of a response that has ended."""

    lane: str | None
    facts: Facts | None
    model: str | None
    route: str | None


class ResponsesSession(RealtimeSession):
    """Implements `wirekey.features.realtime.decisions.WebSocketSession` for one connection to OpenAI's Responses."""

    def __init__(
        self,
        services: Services,
        parent: CallState,
        protocol: RequestProtocol,
        headers: Mapping[str, str],
        request: http.Request,
        *,
        by_http: HttpConversations,
    ) -> None:
        """Set the connection's call, its `headers` by lower-case name, and the request that opened it.

        `by_http`: the conversations that are to use HTTP.
        """
        super().__init__(services, parent, protocol, headers)
        self.requests = protocol
        assert parent.call.provider
        self.provider = parent.call.provider
        path = parent.original_target.decode("latin-1").partition("?")[0]
        operation = PROVIDERS[self.provider].operations.match_operation("POST", path, {})
        assert operation
        self.operation: Operation = operation
        self.request, self.by_http = request, by_http
        self.over: OrderedDict[str, EndedResponse] = OrderedDict()

    @property
    def limits(self) -> WebSocketLimits:
        """The limits of the connection. A request may be as large as by HTTP, and not larger than any message."""
        limits = super().limits
        largest = min(self.services.settings.limits.body_bytes, limits.message_bytes)
        return replace(limits, client_message_bytes=largest)

    # Messages of the client.

    def decide(self, payload: bytes) -> MessageDecision | Awaitable[MessageDecision]:
        """Decide on a message of the client. One that is refused leaves the connection open."""
        if is_costly(payload):
            return self.decide_large(payload)
        try:
            check_values(payload, self.services.settings.json_values)
            message = self.requests.read_client(payload)
        except Refusal as refusal:
            forget_frames(refusal)
            return self.refused(self.open(self.operation, Facts()), refusal, None)
        return FORWARD if message.asks is Asks.NOTHING else self.decide_later(payload, message)

    async def decide_large(self, payload: bytes) -> MessageDecision:
        """Decide on a message that another process reads, as that takes a while."""
        agent = self.parent.call.agent
        task = ReadTask(family_of(self.provider), self.operation, {}, JSON, self.services.settings.json_values)
        try:
            reading = await self.services.body_reader.read(task, payload, agent.id if agent else None)
            assert reading.facts is not None
            assert reading.spans is not None
            message = self.requests.read_members(payload, reading.spans, reading.facts)
        except Exception as error:
            return self.refused_by(error, self.open(self.operation, Facts()), None)
        return FORWARD if message.asks is Asks.NOTHING else await self.decide_later(payload, message, reading)

    async def decide_later(
        self, payload: bytes, message: ClientMessage, reading: Reading | None = None
    ) -> MessageDecision:
        """Decide a message as a request by HTTP is decided, and record the response that it asks for.

        `reading`: of a large message, so that it is not read again.
        """
        state = self.open(self.operation, message.facts)
        state.call.request_bytes = len(payload)
        try:
            if message.asks is Asks.SETTINGS:
                await self.admit_steering(state, message)
                return FORWARD
            sent, cap = await self.admit_request(state, payload, message, reading)
            self.check_open()
            if waiting := self.services.usage_limits.reserve_response(state, len(sent), cap):
                await waiting
            await record_intent(self.services, state.call)
        except Exception as error:
            return self.refused_by(error, state, message)
        self.requested.append(RealtimeResponse(state, lane=message.lane))
        self.services.calls.states[state.call.id] = state
        return FORWARD if sent is payload else MessageDecision(forward=True, payload=sent)

    def open(self, operation: Operation, facts: Facts) -> CallState:
        """Return the state of a new call within the connection. Policies see it as a request by HTTP."""
        state = super().open(operation, PROVIDERS[self.provider].operations.facts_at(operation, facts))
        state.call.method = "POST"
        return state

    async def admit_request(
        self, state: CallState, payload: bytes, message: ClientMessage, reading: Reading | None
    ) -> tuple[bytes, int | None]:
        """Decide on a request. Return what is sent of it and the policy's limit of output tokens. Raises Refusal."""
        body, facts = payload, message.facts
        if facts.model and not is_plain(facts.model):
            body, reading = self.with_plain_model(body, reading, facts.model), None
            facts = self.requests.read_client(body).facts
            state.call.facts = PROVIDERS[self.provider].operations.facts_at(self.operation, facts)
        decision = await check_policy(self.services, self.parent, self.headers, state)
        candidate = await self.route(state, decision.model)
        model = candidate.model
        edits = RequestEdits(
            model.name if model else None,
            model.parameters if model else (),
            decision.max_tokens,
            clamp_temperature=is_clamped(self.services.settings, model.name if model else facts.model),
        )
        try:
            sent, has_model = self.edited(body, reading, edits)
        except ModelNameError as error:
            raise cannot_override(str(model), str(error)) from None
        if model and not has_model and facts.model not in (None, model.name):
            raise cannot_override(model.name, "has no place for it")
        call = state.call
        call.policy_result, call.route = "allow", candidate.route
        call.model = model.name if model else facts.model
        return sent, decision.max_tokens

    def with_plain_model(self, payload: bytes, reading: Reading | None, written: str) -> bytes:
        """Return a request with the parameters in its model's name where they belong. Raises Refusal."""
        try:
            name = ModelName.parse(written)
            if name.destination not in (None, self.provider):
                raise self.elsewhere(written)
            return self.edited(payload, reading, RequestEdits(name.name, name.parameters))[0]
        except ModelNameError as error:
            raise malformed(f"the model's name {error}") from None

    def edited(self, payload: bytes, reading: Reading | None, edits: RequestEdits) -> tuple[bytes, bool]:
        """Return a request with changes, and whether its model changed. Raises Refusal and ModelNameError."""
        if edits == RequestEdits():
            return payload, False
        body: RequestBody = payload
        if reading is not None:
            spool = Spool(self.services.spool_folder, reserve=self.services.settings.disk_reserve)
            spool.write(payload)
            body = spool.finish()
            body.values, body.spans = reading.values, reading.spans
        target = self.parent.original_target
        edited = PROVIDERS[self.provider].operations.edit_request(self.operation, target, JSON, body, edits)
        return payload if edited.body is body else edited.body[:], edited.model_changed

    async def route(self, state: CallState, wanted: str | None) -> Candidate:
        """Return how a call is sent by the routes. `wanted`: the model of the policy. Raises Refusal."""
        call, settings, chosen = state.call, self.services.settings, None
        if settings.model_chooser is not None:
            chosen = await settings.model_chooser.model(call, self.request, self.parent.host)
        candidate, *_ = settings.routes.candidates(
            self.provider,
            self.operation,
            self.parent.original_target,
            call.facts.model if call.facts else None,
            wanted,
            call.agent,
            chosen=chosen,
            named=self.parent.call.backend,
            by_model=self.parent.by_model,
        )
        if not self.leads_here(candidate):
            raise self.elsewhere(call.facts.model if call.facts else None)
        return candidate

    def leads_here(self, candidate: Candidate) -> bool:
        """Return whether a call would go where the connection goes, and with its credential."""
        attempt = self.parent.attempt
        assert attempt
        opened = attempt.planned.candidate
        if attempt.key and attempt.pool:
            keys = candidate.pool.keys if candidate.pool else ()
            if not any(key.secret == attempt.key.secret for key in keys):
                return False
        return (
            candidate.speaks is None
            and candidate.accounts is None
            and (candidate.provider, candidate.backend) == (opened.provider, opened.backend)
            and (candidate.upstream, candidate.auth) == (opened.upstream, opened.auth)
            and candidate.maker == opened.maker
        )

    def elsewhere(self, model: str | None) -> Refusal:
        """Return the refusal of a call that goes elsewhere. The conversation's next connection is refused, too.

        So a program that can use HTTP instead does not try again and again.
        """
        self.by_http.note(self.parent.call, self.headers, model)
        return ELSEWHERE

    async def admit_steering(self, state: CallState, message: ClientMessage) -> None:
        """Decide on input for a continued response, with the settings that the response has. Raises Refusal."""
        steered = self.settings_of(message.previous)
        if steered is None or steered.facts is None:
            raise UNKNOWN_RESPONSE
        state.call.facts = replace(steered.facts, message_count=message.facts.message_count)
        decision = await check_policy(self.services, self.parent, self.headers, state)
        if decision.model not in (None, steered.model):
            raise OTHER_MODEL

    def settings_of(self, name: str | None) -> EndedResponse | None:
        """Return the settings of a response by its id, or None if it is not known."""
        if name is None:
            return None
        running = self.running.get(name)
        return settings_of(running) if running else self.over.get(name)

    # Messages of the provider.

    def began(self, message: ServerMessage) -> None:
        """Note the beginning of a response: of the first asked for in its lane, or one that continues another."""
        if message.id is None or message.id in self.running or message.id in self.over or self.floods():
            return
        response = self.next_requested(message.lane) or self.continued(message.lane)
        response.state.call.ttfb_ms = elapsed_ms(response.state.call)
        self.running[message.id] = response

    def next_requested(self, lane: str | None) -> RealtimeResponse | None:
        """Remove and return the first response that was asked for in a lane. A provider without lanes names none."""
        found = next((each for each in self.requested if lane in (None, each.lane)), None)
        if found:
            self.requested.remove(found)
        return found

    def continued(self, lane: str | None) -> RealtimeResponse:
        """Return a response that the provider begins by itself, after input that steers the one before it."""
        before = next((each for each in reversed(self.over.values()) if each.lane == lane), None)
        # It reads the response before it, and what was queued.
        facts = replace(before.facts if before and before.facts else Facts(stream=True), reads_elsewhere=True)
        response = self.unrequested(self.operation, facts, lane)
        if before:
            response.state.call.model, response.state.call.route = before.model, before.route
        return response

    def check_model(self, call: Call, decision: Decision) -> None:
        """Raise Refusal if the policy wants another model for a response that has begun."""
        if decision.model not in (None, call.model):
            raise OTHER_MODEL

    def ended(self, message: ServerMessage) -> None:
        """Record the end of a response, with its usage."""
        self.began(message)  # if the provider has left that out
        if message.id is not None and (response := self.running.get(message.id)):
            self.remember(message.id, response)
        super().ended(message)

    def failed(self, message: ServerMessage) -> None:
        """End the response that an error is about: one that runs, or the next one in its lane.

        An error may be about another event of the client, and nothing says so. Then a running response continues. One
        that was only asked for begins after all, with the settings that are kept of it.
        """
        running = ((name, each) for name, each in self.running.items() if message.lane in (None, each.lane))
        name, response = next(running, (None, None)) if message.is_within else (None, None)
        if name is not None:
            del self.running[name]
        else:
            response = self.next_requested(message.lane)
            if response is not None:
                response.state.call.usage = Usage(input_tokens=0, output_tokens=0)
        if response is None:
            return
        self.remember(name or response.state.call.id, response)
        response.state.call.policy_reason = message.error_type
        self.conclude(response, Outcome.UPSTREAM_ERROR)

    def remember(self, name: str, response: RealtimeResponse) -> None:
        """Keep the settings of a response that has ended."""
        self.over[name] = settings_of(response)
        if len(self.over) > REMEMBERED:
            self.over.popitem(last=False)


def settings_of(response: RealtimeResponse) -> EndedResponse:
    """Return the settings of a response."""
    call = response.state.call
    return EndedResponse(response.lane, call.facts, call.model, call.route)
