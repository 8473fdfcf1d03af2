"""Measures the response while it passes: bytes, time to the first byte, tokens, finish reason, cost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.call import Outcome
from wirekey.core.calls.conversations import is_two_way
from wirekey.core.calls.response_tap import RemovedBody, ResponseTap
from wirekey.core.credentials.encoded_search import EncodedSearch
from wirekey.core.credentials.eventstream_scrub import EventStreamScrubber
from wirekey.core.credentials.scrub import KeyScrubber
from wirekey.core.metering.cost import cost_usd, has_default_price
from wirekey.core.metering.decoding import decoder, is_plain
from wirekey.core.metering.modifiers import merged, tier_of
from wirekey.core.metering.tap import Tap
from wirekey.core.operation import Facts
from wirekey.providers.openai.usage_filter import UsageEventFilter
from wirekey.providers.places import place_of
from wirekey.providers.price_facts import header_modifiers
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.rewriting import ResponseChange
    from wirekey.core.calls.state import CallState
    from wirekey.core.operation import ResponseReader, Usage

logger = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
AWS_EVENT_STREAM = "application/vnd.amazon.eventstream"
FIRST_ERROR_STATUS = 400
SWITCHING_PROTOCOLS = 101


class Metering(Addon):
    """Attaches a `ResponseTap` to each response, and records what the tap has read when the response ends.

    The tap also removes what the client must not get: the key in an error, and token counts that only Wirekey asked
    for. It leaves usage, cost and outcome in the call.
    """

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream the response through a tap. Remove the body if there can be no tap and the call had a key."""
        state = self.calls.find(flow)
        if state is None or flow.response is None or state.call.status is not None:
            return
        try:
            self.install_tap(flow)
        except Exception as error:
            self.log_failure("install_tap", error)
            if state.secrets:
                unframe(flow)
                flow.response.stream = RemovedBody().feed

    def install_tap(self, flow: http.HTTPFlow) -> None:
        """Attach the tap to a response, and add Wirekey's headers."""
        state, response = self.calls.state(flow), flow.response
        call = state.call
        assert response
        assert call.provider
        assert call.operation
        call.status = response.status_code
        if call.status == SWITCHING_PROTOCOLS:
            if self.services.settings.simulated:
                response.headers["x-wirekey-simulated"] = "true"
            return
        change = self.change_of(state, response)
        content_type = response.headers.get("content-type", "")
        provider, operation, facts = call.provider, call.operation, call.facts or Facts()
        rewritten = state.attempt.rewritten if state.attempt else None
        if state.attempt and rewritten:
            provider = state.attempt.planned.candidate.provider
            operation, facts = rewritten.operation, rewritten.facts
        reader = PROVIDERS[provider].operations.response_reader(
            operation, facts, response.status_code, content_type, headers=response.headers
        )
        if is_two_way(call.operation):
            reader = self.services.conversations.reader(flow, state, content_type) or reader
        if reader is not None:  # what the body says counts more
            reader.usage.modifiers = header_modifiers(PROVIDERS[provider].prices.modifier_headers, response.headers)
        meter = self.services.usage_limits.meter(state, reader) if reader is not None else None
        state.tap = self.make_tap(flow, state, reader, changes=change is not None, is_metered=meter is not None)
        if meter is not None:
            state.tap.meter = meter
            unframe(flow)  # an error may follow what is passed
        if change:
            state.tap.change = change
            unframe(flow)
        for copy in state.response_copies:
            copy.encoding = response.headers.get("content-encoding", "")
        state.tap.copies = state.response_copies
        if self.services.settings.simulated:
            response.headers["x-wirekey-simulated"] = "true"
        if call.model and call.facts and call.model != call.facts.model:
            response.headers["x-wirekey-model"] = call.model
        if rewritten:
            state.tap.rewrite = rewritten.response(state.call, response, self.services.settings.translated_response)
            unframe(flow)
        for copy in state.response_copies:
            copy.content_type = response.headers.get("content-type", "")
        if response.status_code < FIRST_ERROR_STATUS and (
            left := self.services.usage_limits.response_headers(state, response.headers)
        ):
            response.headers.update(left)
        response.stream = state.tap

    def change_of(self, state: CallState, response: http.Response) -> ResponseChange | None:
        """Return what changes the body of a response for a feature; None if nothing does."""
        attempt, limit = state.attempt, self.services.settings.translated_response
        found = (steps.response_change(attempt, response, limit) for steps in attempt.steps) if attempt else ()
        return next(filter(None, found), None)

    def make_tap(
        self, flow: http.HTTPFlow, state: CallState, reader: ResponseReader | None, *, changes: bool, is_metered: bool
    ) -> ResponseTap:
        """Return the tap of a response, whose head is changed to fit what the tap removes from the body.

        `changes`: whether a feature changes the body. `is_metered`: whether the response ends if it uses too much.
        """
        response = flow.response
        assert response
        headers = response.headers
        encoding = headers.get("content-encoding", "")
        scrubber = self.make_filter(state, response)
        attempt = state.attempt
        asked = attempt is not None and attempt.usage_requested and response.status_code < FIRST_ERROR_STATUS
        takes_usage = asked and headers.get("content-type", "").lower().startswith(EVENT_STREAM)
        rewrites = changes or (attempt is not None and attempt.rewritten is not None)
        undo = None if is_plain(encoding) else decoder(encoding)
        rewrites = rewrites or (is_metered and undo is not None)
        if is_plain(encoding):
            tap = ResponseTap(self.calls, flow, Tap(reader))
        elif scrubber is None and not (takes_usage and undo) and not rewrites:
            return ResponseTap(self.calls, flow, Tap(reader, encoding))
        elif scrubber and undo and not (takes_usage or rewrites) and can_pass(encoding, response.status_code):
            tap = ResponseTap(self.calls, flow, Tap(reader))
            tap.search = EncodedSearch(undo, state.secrets)
            return tap
        else:
            tap = ResponseTap(self.calls, flow, Tap(reader if undo else None))
            tap.decoder = undo
            del headers["content-encoding"]
            unframe(flow)
        tap.filter = scrubber if undo or is_plain(encoding) else RemovedBody()
        if takes_usage and not isinstance(tap.filter, RemovedBody):
            assert attempt
            answers = PROVIDERS[attempt.planned.candidate.provider]
            tap.usage_filter = UsageEventFilter(beside_choices=answers.prices.counts_beside_choices)
            unframe(flow)
        return tap

    def make_filter(self, state: CallState, response: http.Response) -> KeyScrubber | None:
        """Return the filter that masks the credential; None if the call was sent without one."""
        secrets = state.secrets
        if not secrets:
            return None
        if response.status_code >= FIRST_ERROR_STATUS:
            name = state.call.upstream_provider or state.call.provider
            status, sign = PROVIDERS[name].credentials.refused_sign if name else (0, b"")
            return KeyScrubber(secrets, sign if response.status_code == status else b"", encoded=True)
        if response.headers.get("content-type", "").lower().startswith(AWS_EVENT_STREAM):
            return EventStreamScrubber(secrets)
        return KeyScrubber(secrets)

    async def held_response(self, flow: http.HTTPFlow) -> None:
        """Finish a large response in a thread, so that other calls continue: one at a time, as large requests are."""
        state = self.calls.find(flow)
        if state and state.tap:
            async with self.services.one_rewrite:
                await state.tap.finish_in_thread()

    def response(self, flow: http.HTTPFlow) -> None:
        """Record usage and cost of a whole response, and whether its stream was truncated."""
        state = self.calls.find(flow)
        reader = self.account(state)
        if state is None:
            return
        call = state.call
        if reader is not None and call.outcome is None:
            self.note_outcome(state, reader)
        if state.has_turns:
            ended = Outcome.COMPLETED if succeeded(call) else Outcome.UPSTREAM_ERROR
            self.services.conversations.end(state, call.outcome or ended, reader)

    def note_outcome(self, state: CallState, reader: ResponseReader) -> None:
        """Note how a whole response ended, if not well."""
        call = state.call
        if reader.error_type:
            call.outcome = Outcome.UPSTREAM_ERROR
            call.policy_reason = call.policy_reason or reader.error_type
        elif failed := failure_of(state):
            call.outcome, call.policy_reason = failed[0], call.policy_reason or failed[1]
        elif call.facts and call.facts.stream and not reader.finished and succeeded(call):
            call.outcome = Outcome.TRUNCATED

    def error(self, flow: http.HTTPFlow) -> None:
        """Record usage and cost of a response that broke off. The wire layer has recorded which side ended it."""
        state = self.calls.find(flow)
        reader = self.account(state, broke_off=True)
        if state and state.tap and state.call.outcome in (None, Outcome.CLIENT_CANCELLED):
            self.note_break(flow, state, reader)
        if state and state.has_turns:
            self.services.conversations.end(state, state.call.outcome or Outcome.CLIENT_CANCELLED, reader)

    def note_break(self, flow: http.HTTPFlow, state: CallState, reader: ResponseReader | None) -> None:
        """Note how a response ended that broke off, if its client has all that matters of it."""
        received = state.tap.received if state.tap else 0
        # SDKs disconnect after the provider's error event or the last event, without waiting for the end. curl
        # disconnects when it has all bytes of the Content-Length, which over HTTP/2 may be before the stream ends.
        call = state.call
        if reader and reader.error_type:
            call.outcome = Outcome.UPSTREAM_ERROR
            call.policy_reason = call.policy_reason or reader.error_type
        elif failed := failure_of(state):
            call.outcome, call.policy_reason = failed[0], call.policy_reason or failed[1]
        elif succeeded(call) and ((reader and reader.finished) or is_whole(flow.response, received)):
            call.outcome = Outcome.COMPLETED

    def account(self, state: CallState | None, *, broke_off: bool = False) -> ResponseReader | None:
        """Record what the tap of a response has counted and read. Return its reader, if it has one."""
        if state is None or state.tap is None:
            return None
        call, tap = state.call, state.tap
        call.response_bytes = tap.received
        tap.tap.end()
        reader = tap.tap.reader
        if reader and not state.has_turns:  # these have the usage
            call.usage = usage_of(state, reader)
            asked = asked_of(state)
            call.service_tier = tier_of(merged(asked.modifiers if asked else (), call.usage.modifiers))
            call.cost_usd = cost_of(call, call.usage, asked)
            state.has_all_counts = has_all_counts(call, reader, broke_off=broke_off)
            self.services.usage_limits.note_usage(state, call.usage, asked)
        return reader


def asked_of(state: CallState) -> Facts | None:
    """Return the facts of the request that was sent, in the upstream's format."""
    rewritten = state.attempt.rewritten if state.attempt else None
    return rewritten.facts if rewritten else state.call.facts


def failure_of(state: CallState) -> tuple[Outcome, str | None] | None:
    """Return the outcome and the reason of a stream that its client saw end with an error; None for any other.

    The provider's own bytes may have been a success, such as one with an event that nobody can read.
    """
    return state.tap.rewrite.failure() if state.tap and state.tap.rewrite else None


def can_pass(encoding: str, status: int) -> bool:
    """Return whether a compressed response may pass unchanged while it is searched for the key.

    An error is decompressed, so that the key can be masked. So is zstd: Wirekey decodes only whole blocks, and a client
    could read more of half a block.
    """
    return status < FIRST_ERROR_STATUS and encoding.strip().lower() != "zstd"


def usage_of(state: CallState, reader: ResponseReader) -> Usage:
    """Return what a response used, with all input in `input_tokens`, as every provider's is recorded.

    The response to a request that keeps its format is in the format of the provider that was called.
    """
    operation, name = state.call.operation, state.call.provider
    if state.attempt and state.attempt.rewritten:
        operation, name = state.attempt.rewritten.operation, state.attempt.planned.candidate.provider
    provider = PROVIDERS.get(name or "")
    if provider is None or operation is None:
        return reader.usage
    apart = provider.prices.counts_cached_apart(operation.name)
    return reader.usage.with_cached_input() if apart else reader.usage


def has_all_counts(call: Call, reader: ResponseReader, *, broke_off: bool) -> bool:
    """Return whether the usage that a reader has is that of the whole response.

    Some providers count at the beginning of a stream, or again in each part. Those counts say nothing of what follows,
    for which the provider charges although the client has left.
    """
    facts = call.facts or Facts()
    if reader.error_type:
        return True
    if broke_off and (facts.choices or 1) > 1:
        return False  # others may continue after the end of the first
    # The last counts come with the reason, before the event that ends the stream.
    return reader.finished or (facts.stream and reader.usage.finish_reason is not None)


def cost_of(call: Call, usage: Usage, asked: Facts | None = None) -> float | None:
    """Return the cost in US dollars by the model that the response names, or by the one sent if that has no price.

    The model sent comes first if it names the region, on which the price depends.
    """
    name = call.upstream_provider or call.provider
    if name is None or not call.is_billed:
        return None
    provider = PROVIDERS[name]
    models = (call.model, usage.model) if provider.prices.model_names_region else (usage.model, call.model)
    place = place_of(provider, call.upstream)
    # A default price is for models of which nothing better is known by any name.
    named = sorted(models, key=lambda model: has_default_price(provider, model, place))
    costs = (cost_usd(provider, model, usage, asked, place) for model in named)
    return next((cost for cost in costs if cost is not None), None)


def is_whole(response: http.Response | None, received: int) -> bool:
    """Return whether as many bytes of a body were received as its Content-Length announced."""
    return response is not None and response.headers.get("content-length") == str(received)


def succeeded(call: Call) -> bool:
    """Return whether the provider responded with success."""
    return call.status is not None and call.status < FIRST_ERROR_STATUS


def unframe(flow: http.HTTPFlow) -> None:
    """Frame a response whose length will change: by chunks for HTTP/1.1, by frames for HTTP/2.

    For HTTP/1.0 the end of the connection ends the response.
    """
    assert flow.response
    headers = flow.response.headers
    headers.pop("content-length", None)
    headers.pop("transfer-encoding", None)
    if flow.request.http_version == "HTTP/1.1":
        headers["transfer-encoding"] = "chunked"
