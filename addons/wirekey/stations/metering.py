"""A tap on the passing answer: bytes, time to the first of them, tokens, finish reason, cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wirekey.call import Outcome
from wirekey.credentials.scrub import KeyScrubber
from wirekey.metering.cost import cost_usd
from wirekey.metering.tap import Tap
from wirekey.metering.usage_request import UsageEventFilter, ask_stream_usage
from wirekey.providers import PROVIDERS
from wirekey.providers.protocol import Facts
from wirekey.stations.station import AdmittingStation, keep_going

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.call import Call
    from wirekey.stations.house import House

EVENT_STREAM = "text/event-stream"
FIRST_ERROR_STATUS = 400


class Filter(Protocol):
    def feed(self, data: bytes) -> list[bytes]: ...
    def end(self) -> list[bytes]: ...


class DecodedFilter:
    """A filter behind a decoder: for a compressed answer from which something must be taken out."""

    def __init__(self, decode: StreamDecoder, inner: Filter) -> None:
        self.decode = decode
        self.inner = inner

    def feed(self, data: bytes) -> list[bytes]:
        return [piece for part in self.decode.feed(data) for piece in self.inner.feed(part)]

    def end(self) -> list[bytes]:
        return self.inner.end()


class AnswerTap:
    """Fed each chunk of an answer as it passes; what it returns is what the client gets."""

    def __init__(self, house: House, call: Call, tap: Tap) -> None:
        self.house = house
        self.call = call
        self.tap = tap
        self.filter: Filter | None = None
        self.received = 0

    def __call__(self, data: bytes) -> list[bytes]:
        if not data:
            return self.filter.end() if self.filter else []
        if not self.received:
            self.call.ttfb_ms = self.house.elapsed_ms(self.call)
        self.received += len(data)
        self.tap.feed(data)
        return self.filter.feed(data) if self.filter else [data]


class Metering(AdmittingStation):
    def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        passage = self.house.passage(flow)
        if call.facts and call.facts.stream and not call.facts.asks_usage and self.house.settings.ask_stream_usage:
            edited = ask_stream_usage(passage.body)
            if edited is not None:
                passage.body = edited
                passage.usage_event_asked = True

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let every answer stream, whatever happens to the tap."""
        passage = self.house.passages.get(flow.id)
        if passage is None or flow.response is None or passage.call.status is not None:
            return
        flow.response.stream = True
        self.install_tap(flow)

    @keep_going
    def install_tap(self, flow: http.HTTPFlow) -> None:
        passage, response = self.house.passage(flow), flow.response
        call = passage.call
        assert response
        assert call.provider
        assert call.operation
        call.status = response.status_code
        content_type = response.headers.get("content-type", "")
        encoding = response.headers.get("content-encoding", "")
        reader = PROVIDERS[call.provider].reader(
            call.operation,
            call.facts or Facts(),
            response.status_code,
            content_type,
            headers=response.headers,
        )
        tap = AnswerTap(self.house, call, Tap(reader, encoding))
        if response.status_code >= FIRST_ERROR_STATUS and passage.key:
            tap.filter = KeyScrubber(passage.key.secret.reveal().encode())
        elif passage.usage_event_asked and content_type.startswith(EVENT_STREAM):
            tap.filter = UsageEventFilter()
        if tap.filter and encoding.lower() not in ("", "identity"):
            tap.filter = DecodedFilter(decoder(encoding), tap.filter)
            del response.headers["content-encoding"]
            unframe(flow)
        elif isinstance(tap.filter, UsageEventFilter):
            unframe(flow)
        if self.house.settings.simulated:
            response.headers["x-wirekey-simulated"] = "true"
        response.stream = tap
        passage.tap = tap

    @keep_going
    def response(self, flow: http.HTTPFlow) -> None:
        self.finish(flow)

    @keep_going
    def error(self, flow: http.HTTPFlow) -> None:
        self.finish(flow)

    def finish(self, flow: http.HTTPFlow) -> None:
        passage = self.house.passages.get(flow.id)
        if passage is None or passage.tap is None:
            return
        call, tap = passage.call, passage.tap
        tap.tap.end()
        call.response_bytes = tap.received
        reader = tap.tap.reader
        if reader is None:
            return
        call.usage = reader.usage
        call.cost_usd = cost_usd(call.provider or "", reader.usage.model or call.model, reader.usage)
        if call.outcome is None and reader.error_type:
            call.outcome = Outcome.UPSTREAM_ERROR
            call.policy_reason = call.policy_reason or reader.error_type
        elif call.outcome is None and call.facts and call.facts.stream and not reader.finished and succeeded(call):
            call.outcome = Outcome.TRUNCATED


def succeeded(call: Call) -> bool:
    return call.status is not None and call.status < FIRST_ERROR_STATUS


def unframe(flow: http.HTTPFlow) -> None:
    """Let an answer whose length will change be framed anew: chunked for HTTP/1.1, by frames for HTTP/2."""
    assert flow.response
    headers = flow.response.headers
    headers.pop("content-length", None)
    if flow.client_conn.alpn != b"h2":
        headers["transfer-encoding"] = "chunked"
