"""A span for each call that ended, in OpenTelemetry's conventions for generative AI; without content.

Needs the extra `wirekey[otel]`. Where to, how often and how many: the OTEL_… variables of the environment say.
"""

from __future__ import annotations

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
from wirekey.audit.event import count, number, safe
from wirekey.call import Outcome
from wirekey.observing import conventions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AttributeValue

    from wirekey.call import Call

logger = logging.getLogger(__name__)

MOST_WAITING = 2048
"""Spans, unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise."""
COMPLAINT_SECONDS = 60.0
"""A collector that does not take spans is complained of this often."""
FLUSH_SECONDS = 3.0
"""How long the end of the process waits for a collector."""
NO_OPERATION = "refused"
"""Name of the span of a call that was refused before its operation was known."""


class CountingExporter(SpanExporter):
    """Hands spans to another exporter, on the processor's thread, and says now and then how many were lost.

    What the other one says of its failures is left out: it may quote the collector's address, with a password in it.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self.inner = inner
        self.taken = 0
        self.lost = 0
        """Since the last complaint."""
        self.complained = -COMPLAINT_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
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
        self.lost += spans
        now = time.monotonic()
        if now - self.complained < COMPLAINT_SECONDS:
            return
        self.complained = now
        lost, self.lost = self.lost, 0
        logger.warning(
            "The OpenTelemetry collector does not take traces: %d spans are lost. Calls go on. See that it runs where "
            "OTEL_EXPORTER_OTLP_ENDPOINT says, and speaks OTLP over HTTP (port 4318, as a rule).",
            lost,
        )

    def shutdown(self) -> None:
        self.inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self.inner.force_flush(timeout_millis)


class CallTracer:
    """A observer that makes a span of each call that ended. Nothing in it waits."""

    def __init__(self, exporter: SpanExporter) -> None:
        """Export in the background. Raises ValueError where an OTEL_… variable says something impossible."""
        self.exporter = CountingExporter(exporter)
        self.most_waiting = int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or MOST_WAITING)
        # Room beyond our own bound: what the processor says when it is full, it says for each span.
        self.processor = BatchSpanProcessor(self.exporter, max_queue_size=self.most_waiting * 2)
        own = {"service.name": "wirekey", "service.version": __version__}
        named = Resource.create(own | dict(OTELResourceDetector().detect().attributes))
        self.provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)
        self.tracer = self.provider.get_tracer("wirekey", __version__)
        self.propagator = TraceContextTextMapPropagator()
        self.ended_spans = 0

    def began(self, call: Call) -> None:
        pass

    def ended(self, call: Call) -> None:
        if self.ended_spans - self.exporter.taken >= self.most_waiting:
            self.exporter.lose(1)
            return
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
        """Give the client's trace; an empty context, which begins a trace, where its header is not a valid one."""
        # Without tracestate and baggage: both are free text, which would get into the trace store.
        return self.propagator.extract({"traceparent": header}, Context()) if header else Context()

    def close(self) -> None:
        """Export what waits, but not for longer than `FLUSH_SECONDS`."""
        # A thread that nobody waits for: the exporter ends its attempts in its own time.
        thread = threading.Thread(target=self.provider.shutdown, name="last spans", daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)


def span_name(call: Call) -> str:
    operation, model = conventions.operation_name(call) or NO_OPERATION, sent_model(call)
    return f"{operation} {model}" if model else operation


def asked_model(call: Call) -> str | None:
    return (call.facts.model if call.facts else None) or (call.operation.model if call.operation else None)


def sent_model(call: Call) -> str | None:
    return safe(call.model or asked_model(call))


def attributes_of(call: Call) -> dict[str, AttributeValue]:
    """Give what is known of a call by the names of the conventions, and by `wirekey.…` where they have none."""
    agent, usage, facts = call.agent, call.usage, call.facts
    asked, sent = safe(asked_model(call)), sent_model(call)
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
        "wirekey.operation": call.operation.name if call.operation else None,
        "wirekey.agent.id": safe(agent.id) if agent else None,
        "wirekey.agent.role": safe(agent.role) if agent else None,
        "wirekey.requested_model": asked if asked != sent else None,
        "wirekey.decision": call.policy_result,
        "wirekey.decision.code": conventions.reason_code(call) if call.outcome is Outcome.DENIED else None,
        "wirekey.policy.revision": safe(call.policy_revision),
        "wirekey.outcome": call.outcome.value if call.outcome else None,
        "wirekey.route": safe(call.route),
        "wirekey.credential": safe(call.credential),
        "wirekey.attempts": call.attempts,
        "wirekey.cost_usd": number(call.cost_usd),
        "wirekey.simulated": call.simulated or None,
    }
    if streams and call.ttfb_ms is not None:
        known["gen_ai.response.time_to_first_chunk"] = call.ttfb_ms / 1000
    if usage:
        known["gen_ai.response.model"] = safe(usage.model)
        known["gen_ai.response.finish_reasons"] = (safe(usage.finish_reason) or "",) if usage.finish_reason else None
        known["gen_ai.usage.input_tokens"] = count(conventions.all_input_tokens(call.provider, usage))
        known["gen_ai.usage.output_tokens"] = count(usage.output_tokens)
        known["gen_ai.usage.cache_read.input_tokens"] = count(usage.cached_input_tokens)
        known["gen_ai.usage.cache_write.input_tokens"] = count(usage.cache_write_tokens)
        known["gen_ai.usage.reasoning.output_tokens"] = count(usage.reasoning_tokens)
    return {name: value for name, value in known.items() if value is not None}


def open_call_tracer() -> CallTracer:
    """Export by OTLP over HTTP, as the environment says. Raises ValueError."""
    # Their own complaints come once a batch or a retry; CountingExporter says it once a minute.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return CallTracer(OTLPSpanExporter())
