"""A span for each call that ended, by OpenTelemetry's conventions for generative AI, without content.

Requires the extra `wirekey[otel]`. The OTEL_… environment variables set the destination, the interval and the sampling.
"""

from __future__ import annotations

import collections
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from wirekey import __version__
from wirekey.core.audit.event import count, number, safe
from wirekey.core.call import Outcome
from wirekey.core.call_events import log_failure
from wirekey.core.observing import conventions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AttributeValue

    from wirekey.core.call import Call
    from wirekey.core.labels import Labels

logger = logging.getLogger(__name__)

MAX_WAITING = 2048
"""Spans that may wait, unless OTEL_BSP_MAX_QUEUE_SIZE is set."""
COMPLAINT_SECONDS = 60.0
"""Interval of the warnings about a collector that does not accept spans."""
GATHERING_SECONDS = 0.02
"""After a round, the next calls wait this long, for one waking of the thread."""
FLUSH_SECONDS = 3.0
"""How long the process waits for a collector at its end."""
NO_OPERATION = "refused"
"""Name of the span of a call that was refused before its operation was known."""


class CountingExporter(SpanExporter):
    """Passes spans to another exporter, on the processor's thread, and warns about lost spans.

    Error messages of the other exporter are left out, because they may quote the collector's address with a password.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self.inner = inner
        self.taken = 0
        self.lost = 0
        """Spans lost since the last warning."""
        self.complained = -COMPLAINT_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans and count those that are lost."""
        self.taken += len(spans)
        try:
            result = self.inner.export(spans)
        except Exception as error:
            logger.debug("spans could not be exported: %s", type(error).__name__)
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self.lose(len(spans))
        return result

    def lose(self, spans: int) -> None:
        """Count lost spans, and warn at most once a minute."""
        self.lost += spans
        now = time.monotonic()
        if now - self.complained < COMPLAINT_SECONDS:
            return
        self.complained = now
        lost, self.lost = self.lost, 0
        logger.warning(
            "The OpenTelemetry collector does not accept traces: %d spans are lost. Calls are not affected. Check that "
            "it runs at OTEL_EXPORTER_OTLP_ENDPOINT and accepts OTLP over HTTP (usually port 4318).",
            lost,
        )

    def shutdown(self) -> None:
        """Shut the other exporter down."""
        self.inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the other exporter."""
        return self.inner.force_flush(timeout_millis)


class CallTracer:
    """A call observer that hands each call that ended to a thread, which creates its span. It never waits."""

    def __init__(self, exporter: SpanExporter) -> None:
        """Export in the background. Raises ValueError if an OTEL_… variable has an invalid value."""
        self.exporter = CountingExporter(exporter)
        self.most_waiting = int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or MAX_WAITING)
        # Room beyond our own bound: a full processor warns for each span.
        self.processor = BatchSpanProcessor(self.exporter, max_queue_size=self.most_waiting * 2)
        own = {"service.name": "wirekey", "service.version": __version__}
        named = Resource.create(own | dict(OTELResourceDetector().detect().attributes))
        self.provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)
        self.tracer = self.provider.get_tracer("wirekey", __version__)
        self.propagator = TraceContextTextMapPropagator()
        self.ended_spans = 0
        """Spans that were created. The thread counts them."""
        self.waiting: collections.deque[Call] = collections.deque()
        self.wanted = threading.Event()
        self.closing = False
        self.thread = threading.Thread(target=self.run, name="spans", daemon=True)
        self.thread.start()

    def began(self, call: Call) -> None:
        """Do nothing: a span is created when the call ends."""

    def ended(self, call: Call) -> None:
        """Hand a call to the thread, or count its span as lost if too many wait."""
        if len(self.waiting) + self.ended_spans - self.exporter.taken >= self.most_waiting:
            self.exporter.lose(1)
            return
        self.waiting.append(call)
        if not self.wanted.is_set():
            self.wanted.set()

    def run(self) -> None:
        """Create the spans of calls until the tracer is closed."""
        while True:
            self.wanted.wait()
            self.wanted.clear()
            while self.waiting:
                call = self.waiting[0]  # it counts as waiting until its span is counted
                try:
                    self.create_span(call)
                except Exception as error:
                    log_failure(self, call, error)
                self.waiting.popleft()
            if self.closing:
                return
            time.sleep(GATHERING_SECONDS)

    def create_span(self, call: Call) -> None:
        """Create the span of a call."""
        start = int(call.started_at * 1e6) * 1000
        span = self.tracer.start_span(
            span_name(call),
            context=self.parent(call.trace_parent),
            kind=SpanKind.CLIENT,
            attributes=attributes_of(call),
            start_time=start,
        )
        if not span.is_recording():
            return
        if conventions.error_type(call):
            span.set_status(Status(StatusCode.ERROR))
        self.ended_spans += 1
        span.end(start + int((call.duration_ms or 0.0) * 1e6))

    def parent(self, header: str | None) -> Context:
        """Return the client's trace, or an empty context, which starts a trace, if its header is not valid."""
        # Without tracestate and baggage: both are free text, which must not reach the trace store.
        return self.propagator.extract({"traceparent": header}, Context()) if header else Context()

    def flush(self) -> None:
        """Create the spans of all calls that have ended, and export them."""
        end = time.monotonic() + FLUSH_SECONDS
        while self.waiting and time.monotonic() < end:
            time.sleep(0.002)
        self.provider.force_flush()

    def close(self) -> None:
        """Export the waiting spans, for at most `FLUSH_SECONDS`."""
        # A daemon thread, because the exporter may retry for longer.
        thread = threading.Thread(target=self.shut_down, name="last spans", daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)

    def shut_down(self) -> None:
        """Create the last spans, export them, and stop the threads."""
        self.closing = True
        self.wanted.set()
        self.thread.join()
        self.provider.shutdown()


def span_name(call: Call) -> str:
    """Return the name of the span: operation and model."""
    operation, model = conventions.operation_name(call) or NO_OPERATION, sent_model(call)
    return f"{operation} {model}" if model else operation


def requested_model(call: Call) -> str | None:
    """Return the model that the client requested, or None."""
    return (call.facts.model if call.facts else None) or (call.operation.model if call.operation else None)


def sent_model(call: Call) -> str | None:
    """Return the model that was sent, or else the requested one, or None."""
    return safe(call.model or requested_model(call))


def attributes_of(call: Call) -> dict[str, AttributeValue]:
    """Return the attributes of a call: names of the conventions, or `wirekey.…` where they have none."""
    agent, usage, facts = call.agent, call.usage, call.facts
    requested, sent = safe(requested_model(call)), sent_model(call)
    streams = (facts is not None and facts.stream) or (call.operation is not None and call.operation.stream)
    known: dict[str, AttributeValue | None] = {
        "gen_ai.operation.name": conventions.operation_name(call),
        "gen_ai.provider.name": conventions.provider_name(call),
        "gen_ai.request.model": sent,
        "gen_ai.request.max_tokens": count(facts.max_tokens) if facts else None,
        "gen_ai.request.stream": streams or None,
        "server.address": safe(call.upstream),
        "http.response.status_code": call.status,
        "error.type": conventions.error_type(call),
        "wirekey.call.id": call.id,
        "wirekey.operation": call.purpose or (call.operation.name if call.operation else None),
        "wirekey.agent.id": safe(agent.id) if agent else None,
        "wirekey.agent.role": safe(agent.role) if agent else None,
        "wirekey.requested_model": requested if requested != sent else None,
        "wirekey.decision": call.policy_result,
        "wirekey.decision.code": conventions.reason_code(call) if call.outcome is Outcome.DENIED else None,
        "wirekey.policy.revision": safe(call.policy_revision),
        "wirekey.outcome": call.outcome.value if call.outcome else None,
        "wirekey.route": safe(call.route),
        "wirekey.credential": safe(call.credential),
        "wirekey.attempts": call.attempts,
        "wirekey.cost_usd": number(call.cost_usd),
        "wirekey.simulated": call.simulated or None,
        **label_attributes(call.labels),
    }
    if streams and call.ttfb_ms is not None:
        known["gen_ai.response.time_to_first_chunk"] = call.ttfb_ms / 1000
    if usage:
        known["gen_ai.response.model"] = safe(usage.model)
        known["gen_ai.response.finish_reasons"] = (safe(usage.finish_reason) or "",) if usage.finish_reason else None
        known["gen_ai.usage.input_tokens"] = count(usage.input_tokens)
        known["gen_ai.usage.output_tokens"] = count(usage.output_tokens)
        known["gen_ai.usage.cache_read.input_tokens"] = count(usage.cached_input_tokens)
        known["gen_ai.usage.cache_write.input_tokens"] = count(usage.cache_write_tokens)
        known["gen_ai.usage.reasoning.output_tokens"] = count(usage.reasoning_tokens)
    return {name: value for name, value in known.items() if value is not None}


def label_attributes(labels: Labels) -> dict[str, AttributeValue | None]:
    """Return the attributes of labels: the session and the agent within it by the names of the conventions.

    `wirekey.labels.unverified` names those that the client has sent.
    """
    if not labels:
        return {}
    known = {**labels.verified, **labels.unverified}
    return {
        "gen_ai.conversation.id": known.get("session"),
        "gen_ai.agent.id": known.get("sub_agent"),
        **{f"wirekey.label.{name}": value for name, value in sorted(known.items())},
        "wirekey.labels.unverified": tuple(sorted(labels.unverified)) or None,
        "wirekey.labels.invalid": labels.invalid or None,
    }


def open_call_tracer() -> CallTracer:
    """Return a tracer that exports by OTLP over HTTP, as set in the environment. Raises ValueError."""
    # OpenTelemetry warns for each batch and retry; CountingExporter warns once a minute.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return CallTracer(OTLPSpanExporter())
