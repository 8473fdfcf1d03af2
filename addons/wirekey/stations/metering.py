"""A tap on the passing answer: bytes, time to the first of them, tokens, finish reason, cost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from wirekey.call import Outcome
from wirekey.credentials.pool import REFUSED_KEY_SIGNS
from wirekey.credentials.scrub import MASK, KeyScrubber
from wirekey.failure import described
from wirekey.metering.cost import cost_usd
from wirekey.metering.decoding import DecodingError, StreamDecoder, decoder, is_plain
from wirekey.metering.tap import Tap
from wirekey.metering.usage_request import UsageEventFilter
from wirekey.providers import PROVIDERS
from wirekey.providers.protocol import Facts
from wirekey.refusal import Fault, Refusal
from wirekey.stations.station import Station, keep_going

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitmproxy import http

    from wirekey.call import Call
    from wirekey.providers.protocol import AnswerReader, Usage
    from wirekey.stations.house import House
    from wirekey.stations.passage import Passage

logger = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
FIRST_ERROR_STATUS = 400


class Filter(Protocol):
    def feed(self, data: bytes) -> list[bytes]: ...
    def end(self) -> list[bytes]: ...


class Withheld:
    """Lets nothing by: for an error whose encoding cannot be undone, as it could quote the key."""

    def feed(self, data: bytes) -> list[bytes]:
        return []

    def end(self) -> list[bytes]:
        return []


class Masked:
    """Gives as many bytes as come, and none of those: for an error of stated length, where the scrubber fails."""

    def feed(self, data: bytes) -> list[bytes]:
        return [MASK * len(data)]

    def end(self) -> list[bytes]:
        return []


class AnswerTap:
    """Fed each chunk of an answer as it passes; what it returns is what the client gets.

    Chunks pass as they are. Only where something must be taken out there is a filter, and before it a decoder if
    the answer is compressed; the tap then reads what was decoded.
    """

    def __init__(self, house: House, flow: http.HTTPFlow, tap: Tap) -> None:
        self.house = house
        self.flow = flow
        self.call = house.call(flow)
        self.tap = tap
        self.filter: Filter | None = None
        self.decoder: StreamDecoder | None = None
        self.broken = False
        self.received = 0

    def __call__(self, data: bytes) -> list[bytes]:
        # mitmproxy says b"" at the end; a b"" from us would end an answer in chunks before its time.
        if not data:
            return self.filter.end() if self.filter and not self.broken else []
        try:
            return self.passed(data)
        except Exception as error:
            logger.error(  # noqa: TRY400  # see described
                "an answer of %s cannot be filtered: %s",
                self.call.provider,
                described(error),
                extra={"call": self.call.id},
            )
            if not isinstance(self.filter, KeyScrubber):
                return [data]
            data, self.filter = self.filter.held + data, Masked()
            return self.filter.feed(data)

    def passed(self, data: bytes) -> list[bytes]:
        if not self.received:
            self.call.ttfb_ms = self.house.elapsed_ms(self.call)
        self.received += len(data)
        if self.filter is None:
            self.read(data)
            return [data]
        return list(self.filtered(self.filter, data))

    def read(self, data: bytes) -> None:
        try:
            self.tap.feed(data)
        except Exception as error:
            logger.error(  # noqa: TRY400  # see described
                "an answer of %s passes unread: %s",
                self.call.provider,
                described(error),
                extra={"call": self.call.id},
            )
            self.tap.reader = None

    def filtered(self, inner: Filter, data: bytes) -> Iterator[bytes]:
        if self.broken:
            return
        try:
            for part in self.decoder.feed(data) if self.decoder else (data,):
                self.read(part)
                yield from inner.feed(part)
        except DecodingError as error:
            self.broken = True
            yield from inner.end()
            refusal = Refusal(502, "upstream_unreadable", f"The answer broke off: {error}.", Fault.PROVIDER)
            if last_words := self.house.phrase_in_stream(self.flow, refusal):
                yield last_words


class Metering(Station):
    @keep_going
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let every answer stream; without a tap, only one that cannot quote the key."""
        passage = self.house.passages.get(flow.id)
        if passage is None or flow.response is None or passage.call.status is not None:
            return
        try:
            self.install_tap(flow)
        except Exception as error:
            self.failed(self.install_tap, error)
            if flow.response.status_code >= FIRST_ERROR_STATUS:
                unframe(flow)
                flow.response.stream = Withheld().feed

    def install_tap(self, flow: http.HTTPFlow) -> None:
        passage, response = self.house.passage(flow), flow.response
        call = passage.call
        assert response
        assert call.provider
        assert call.operation
        call.status = response.status_code
        content_type = response.headers.get("content-type", "")
        reader = PROVIDERS[call.provider].reader(
            call.operation,
            call.facts or Facts(),
            response.status_code,
            content_type,
            headers=response.headers,
        )
        passage.tap = self.make_tap(flow, passage, reader)
        if self.house.settings.simulated:
            response.headers["x-wirekey-simulated"] = "true"
        if call.model and call.facts and call.model != call.facts.model:
            response.headers["x-wirekey-model"] = call.model
        response.stream = passage.tap

    def make_tap(self, flow: http.HTTPFlow, passage: Passage, reader: AnswerReader | None) -> AnswerTap:
        """Make the tap of an answer, and its head fit for what the tap will take out of the body."""
        response = flow.response
        assert response
        headers = response.headers
        encoding = headers.get("content-encoding", "")
        inner = self.make_filter(passage, response)
        undo = decoder(encoding)
        if inner is None or is_plain(encoding):
            tap = AnswerTap(self.house, flow, Tap(reader, encoding))
            tap.filter = inner
            if isinstance(inner, UsageEventFilter):
                unframe(flow)
            return tap
        if undo is None and isinstance(inner, UsageEventFilter):
            return AnswerTap(self.house, flow, Tap(None))
        tap = AnswerTap(self.house, flow, Tap(reader if undo else None))
        tap.decoder, tap.filter = undo, inner if undo else Withheld()
        del headers["content-encoding"]
        unframe(flow)
        return tap

    def make_filter(self, passage: Passage, response: http.Response) -> Filter | None:
        """Make what must come between: nothing, as a rule."""
        if response.status_code >= FIRST_ERROR_STATUS and (quotable := passage.quotable):
            status, sign = REFUSED_KEY_SIGNS.get(passage.call.provider or "", (0, b""))
            sign = sign if response.status_code == status else b""
            return KeyScrubber(quotable, sign)
        content_type = response.headers.get("content-type", "").lower()
        if passage.usage_event_asked and content_type.startswith(EVENT_STREAM):
            return UsageEventFilter()
        return None

    @keep_going
    def response(self, flow: http.HTTPFlow) -> None:
        passage = self.house.passages.get(flow.id)
        reader = self.learn(passage)
        if passage is None or reader is None or passage.call.outcome is not None:
            return
        call = passage.call
        if reader.error_type:
            call.outcome = Outcome.UPSTREAM_ERROR
            call.policy_reason = call.policy_reason or reader.error_type
        elif call.facts and call.facts.stream and not reader.finished and succeeded(call):
            call.outcome = Outcome.TRUNCATED

    @keep_going
    def error(self, flow: http.HTTPFlow) -> None:
        """Account for what came until client or provider went away; which of them did the wire layer says."""
        passage = self.house.passages.get(flow.id)
        reader = self.learn(passage)
        if not (passage and reader and passage.call.outcome in (None, Outcome.CLIENT_CANCELLED)):
            return
        # SDKs leave at the provider's error event, or at the last event, without waiting for the end.
        call = passage.call
        if reader.error_type:
            call.outcome = Outcome.UPSTREAM_ERROR
            call.policy_reason = call.policy_reason or reader.error_type
        elif reader.finished and call.facts and call.facts.stream and succeeded(call):
            call.outcome = Outcome.COMPLETED

    def learn(self, passage: Passage | None) -> AnswerReader | None:
        if passage is None or passage.tap is None:
            return None
        call, answer = passage.call, passage.tap
        call.response_bytes = answer.received
        answer.tap.end()
        reader = answer.tap.reader
        if reader:
            call.usage = reader.usage
            call.cost_usd = cost_of(call, reader.usage)
        return reader


def cost_of(call: Call, usage: Usage) -> float | None:
    """Price by the model that the answer names, or by the one asked for where that has no price.

    On Bedrock the other way round: what is asked for says the region, on which the price depends.
    """
    models = (call.model, usage.model) if call.provider == "bedrock" else (usage.model, call.model)
    costs = (cost_usd(call.provider or "", model, usage) for model in models)
    return next((cost for cost in costs if cost is not None), None)


def succeeded(call: Call) -> bool:
    return call.status is not None and call.status < FIRST_ERROR_STATUS


def unframe(flow: http.HTTPFlow) -> None:
    """Let an answer whose length will change be framed anew: by chunks for HTTP/1.1, by frames for HTTP/2.

    For HTTP/1.0 its end is that of the connection.
    """
    assert flow.response
    headers = flow.response.headers
    headers.pop("content-length", None)
    headers.pop("transfer-encoding", None)
    if flow.request.http_version == "HTTP/1.1":
        headers["transfer-encoding"] = "chunked"
