"""The span of a call, and the handling of spans that cannot be exported."""

from __future__ import annotations

import logging
import threading

import pytest
from mitmproxy.test import tflow
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.support.running import PATIENCE, wait_for
from wirekey.core.body import Body
from wirekey.core.call import Agent, Call, Outcome
from wirekey.core.calls.calls import trace_parent
from wirekey.core.calls.services import Services
from wirekey.core.labels import checked
from wirekey.core.operation import Facts, Kind, Operation, Usage
from wirekey.features.traces import tracer as traces
from wirekey.features.traces.addon import Traces, wanted
from wirekey.features.traces.tracer import CallTracer

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)


def completed(**more) -> Call:
    facts = {
        "started_at": 1_700_000_000.25,
        "agent": Agent("alice", "engineer"),
        "provider": "openai",
        "operation": CHAT,
        "facts": Facts("gpt-4o", max_tokens=50),
        "model": "gpt-4o",
        "credential": "openai/1",
        "upstream": "api.openai.com",
        "attempts": 1,
        "policy_result": "allow",
        "status": 200,
        "outcome": Outcome.COMPLETED,
        "usage": Usage(12, 9, 4, 0, "stop", "gpt-4o-2024-08-06"),
        "cost_usd": 0.00012,
        "ttfb_ms": 7.0,
        "duration_ms": 1500.0,
    }
    return Call(**(facts | more))


def denied(reason: str, **more) -> Call:
    return completed(
        outcome=Outcome.DENIED,
        policy_result="deny",
        policy_reason=reason,
        usage=None,
        upstream=None,
        attempts=0,
        **more,
    )


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def observer(exporter):
    observer = CallTracer(exporter)
    yield observer
    observer.close()


def span_of(call: Call, observer: CallTracer, exporter: InMemorySpanExporter):
    observer.ended(call)
    observer.flush()
    (span,) = exporter.get_finished_spans()
    return span


def test_a_call_is_a_client_span_named_by_operation_and_model(observer, exporter):
    span = span_of(completed(), observer, exporter)
    assert (span.name, span.kind) == ("chat gpt-4o", SpanKind.CLIENT)
    assert span.start_time == 1_700_000_000_250_000_000
    assert span.end_time - span.start_time == 1_500_000_000
    assert span.resource.attributes["service.name"] == "wirekey"


def test_the_attributes_are_those_of_the_conventions_and_wirekeys_own(observer, exporter):
    call = completed()
    assert dict(span_of(call, observer, exporter).attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "server.address": "api.openai.com",
        "http.response.status_code": 200,
        "wirekey.call.id": call.id,
        "wirekey.operation": "chat.completions",
        "wirekey.agent.id": "alice",
        "wirekey.agent.role": "engineer",
        "wirekey.decision": "allow",
        "wirekey.outcome": "completed",
        "wirekey.credential": "openai/1",
        "wirekey.attempts": 1,
        "wirekey.cost_usd": 0.00012,
    }


PARTS = {
    "another model was sent": (
        completed(model="gpt-4o-mini"),
        {"gen_ai.request.model": "gpt-4o-mini", "wirekey.requested_model": "gpt-4o"},
    ),
    "labels": (
        completed(
            agent=Agent("alice", labels=(("team", "search"),)),
            header_labels=checked([("session", "s1"), ("sub_agent", "a1"), ("run", "two words")]),
        ),
        {
            "gen_ai.conversation.id": "s1",
            "gen_ai.agent.id": "a1",
            "wirekey.label.team": "search",
            "wirekey.label.session": "s1",
            "wirekey.labels.unverified": ("session", "sub_agent"),
            "wirekey.labels.invalid": ("run",),
        },
    ),
    "a stream": (
        completed(facts=Facts("gpt-4o", stream=True)),
        {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": 0.007},
    ),
    "a plain response has no first chunk": (completed(), {"gen_ai.response.time_to_first_chunk": None}),
    "what was cached is a part of the input": (
        completed(provider="anthropic", usage=Usage(1110, 9, 100, cache_write_tokens=1000)),
        {
            "gen_ai.usage.input_tokens": 1110,
            "gen_ai.usage.cache_read.input_tokens": 100,
            "gen_ai.usage.cache_write.input_tokens": 1000,
        },
    ),
    "Gemini by its name": (
        completed(
            provider="gemini", operation=Operation("streamGenerateContent", Body.JSON, Kind.INFERENCE, "g", True)
        ),
        {"gen_ai.provider.name": "gcp.gemini", "gen_ai.operation.name": "generate_content"},
    ),
    "Bedrock by its name": (
        completed(provider="bedrock", operation=Operation("invoke", Body.JSON, Kind.INFERENCE, "m")),
        {"gen_ai.provider.name": "aws.bedrock", "gen_ai.operation.name": "invoke"},
    ),
    "what was not said is not there": (
        completed(usage=None, cost_usd=None),
        {"gen_ai.usage.input_tokens": None, "wirekey.cost_usd": None, "gen_ai.response.finish_reasons": None},
    ),
    "control characters are escaped": (
        completed(facts=Facts("a\n\x1b[31m"), model=None),
        {"gen_ai.request.model": "a\\n\\x1b[31m"},
    ),
    "long names are cut": (completed(model="m" * 5000), {"gen_ai.request.model": "m" * 253 + "..."}),
}


@pytest.mark.parametrize("name", PARTS)
def test_an_attribute_has_the_expected_value(name, observer, exporter):
    call, expected = PARTS[name]
    found = span_of(call, observer, exporter).attributes
    assert {key: found.get(key) for key in expected} == expected


ENDS = [
    (completed(), None, None),
    (completed(outcome=Outcome.CLIENT_CANCELLED), None, None),
    (denied("policy_denied: no such prompt as canary", status=403), "policy_denied", "policy_denied"),
    (denied("Canary: no code", status=403), "denied", None),
    (completed(outcome=Outcome.UPSTREAM_ERROR, status=429), "429", None),
    (completed(outcome=Outcome.UPSTREAM_ERROR, status=502, policy_reason="unreachable"), "502", None),
    (completed(outcome=Outcome.UPSTREAM_ERROR), "upstream_error", None),
    (completed(outcome=Outcome.UPSTREAM_ERROR, status=529), "_OTHER", None),
    (completed(outcome=Outcome.TIMEOUT, status=504), "timeout", None),
    (completed(outcome=Outcome.TIMEOUT, status=504, refusal_code="upstream_timeout"), "upstream_timeout", None),
    (completed(outcome=Outcome.TRUNCATED), "truncated", None),
    (completed(outcome=Outcome.INTERRUPTED), "interrupted", None),
]


@pytest.mark.parametrize(("call", "error_type", "code"), ENDS, ids=lambda given: getattr(given, "outcome", None))
def test_a_failed_call_has_an_error_type_and_no_reason(call, error_type, code, observer, exporter):
    span = span_of(call, observer, exporter)
    assert span.attributes.get("error.type") == error_type
    assert span.attributes.get("wirekey.decision.code") == code
    assert span.status.status_code.name == ("ERROR" if error_type else "UNSET")
    assert "canary" not in span.to_json().lower()


def test_a_call_refused_before_recognition_has_a_span(observer, exporter):
    call = denied("host_refused: no", provider=None, operation=None, facts=None, model=None, agent=None, status=403)
    span = span_of(call, observer, exporter)
    assert span.name == "refused"
    assert "gen_ai.provider.name" not in span.attributes


PARENTS = [
    (f"00-{TRACE}-{SPAN}-01", True),
    (f"01-{TRACE}-{SPAN}-01-what.the.future.adds", True),
    (None, False),
    ("", False),
    (f"00-{TRACE}-{SPAN}-01-more", False),
    (f"00-{TRACE.upper()}-{SPAN}-01", False),
    (f"00-{'0' * 32}-{SPAN}-01", False),
    (f"00-{TRACE}-{'0' * 16}-01", False),
    (f"ff-{TRACE}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN}", False),
    ("canary", False),
]


@pytest.mark.parametrize(("header", "continued"), PARENTS)
def test_a_valid_traceparent_is_continued_and_any_other_starts_a_trace(header, continued, observer, exporter):
    span = span_of(completed(trace_parent=header), observer, exporter)
    assert (f"{span.context.trace_id:032x}" == TRACE) is continued
    assert (f"{span.parent.span_id:016x}" == SPAN if span.parent else False) is continued
    assert not span.context.trace_state


def test_a_trace_that_the_client_does_not_sample_has_no_span(observer, exporter):
    observer.ended(completed(trace_parent=f"00-{TRACE}-{SPAN}-00"))
    observer.flush()
    assert exporter.get_finished_spans() == ()


HEADERS = [
    ([(b"traceparent", b"a")], "a"),
    ([(b"TraceParent", b"\xff")], "\xff"),
    ([(b"traceparent", b"a"), (b"Traceparent", b"b")], None),
    ([(b"traceparent", b"a" * 129)], None),
    ([(b"tracestate", b"a")], None),
]


@pytest.mark.parametrize(("fields", "found"), HEADERS)
def test_one_header_of_bounded_length_is_read(fields, found):
    assert trace_parent(fields) == found


@pytest.mark.parametrize("wanted", [False, True])
def test_the_header_is_kept_only_if_traces_are_enabled(wanted):
    flow, services = tflow.tflow(), Services()
    flow.request.headers["traceparent"] = f"00-{TRACE}-{SPAN}-01"
    services.events.continues_traces = wanted
    call = services.calls.open(flow)
    assert call.trace_parent == (f"00-{TRACE}-{SPAN}-01" if wanted else None)
    assert TRACE not in repr(call)


class Stuck(SpanExporter):
    """An exporter that blocks until the test releases it."""

    def __init__(self) -> None:
        self.called, self.released = threading.Event(), threading.Event()

    def export(self, spans):
        self.called.set()
        self.released.wait(PATIENCE)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


def test_spans_that_cannot_be_exported_are_bounded_counted_and_reported_once(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    stuck = Stuck()
    observer = CallTracer(stuck)
    caplog.set_level(logging.WARNING)
    for _ in range(10):
        observer.ended(completed())
    assert stuck.called.wait(PATIENCE)
    for _ in range(500):
        observer.ended(completed())
    stuck.released.set()
    wait_for(lambda: observer.exporter.lost >= 499, "the failed batches to be counted")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1, lines
    assert "does not accept traces: 1 spans are lost" in lines[0]
    wait_for(lambda: observer.ended_spans >= 10 + 20, "the calls that waited")
    assert observer.ended_spans <= 10 + 20 + 1
    observer.close()


def test_the_span_is_made_in_a_thread_and_a_call_that_has_none_is_logged(observer, exporter, monkeypatch, caplog):
    made = []

    def attributes_of(call):
        made.append(threading.current_thread().name)
        if call.model == "broken":
            raise ValueError("canary")
        return {}

    monkeypatch.setattr(traces, "attributes_of", attributes_of)
    for model in ("broken", "whole"):
        observer.ended(completed(model=model))
    observer.flush()
    assert made == ["spans", "spans"]
    assert len(exporter.get_finished_spans()) == 1
    assert "CallTracer failed: ValueError at test_traces.py" in caplog.text
    assert "canary" not in caplog.text


def test_an_exception_of_the_exporter_is_not_quoted(caplog):
    class Failing(Stuck):
        def export(self, spans):
            raise ValueError("http://user:canary@collector")

    caplog.set_level(logging.DEBUG)
    observer = CallTracer(Failing())
    observer.ended(completed())
    observer.close()
    assert "does not accept traces" in caplog.text
    assert "canary" not in caplog.text


def test_shutdown_waits_for_a_stuck_collector_only_for_a_limited_time(monkeypatch):
    monkeypatch.setattr(traces, "FLUSH_SECONDS", 0.05)
    stuck = Stuck()
    observer = CallTracer(stuck)
    observer.ended(completed())
    observer.close()
    assert not stuck.released.is_set()
    stuck.released.set()


def test_queued_spans_are_exported_at_shutdown(exporter):
    observer = CallTracer(exporter)
    for _ in range(7):
        observer.ended(completed())
    observer.close()
    assert len(exporter.get_finished_spans()) == 7


def test_the_environment_can_set_the_service_name(monkeypatch, exporter):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "llm-egress")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    observer = CallTracer(exporter)
    resource = span_of(completed(), observer, exporter).resource.attributes
    observer.close()
    assert resource["service.name"] == "llm-egress"
    assert resource["deployment.environment.name"] == "test"


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
WANTED = [
    ({}, False),
    (ENDPOINT, True),
    ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
    (ENDPOINT | {"OTEL_SDK_DISABLED": "True"}, False),
    (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
    (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
    (ENDPOINT | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
]


@pytest.mark.parametrize(("environ", "expected"), WANTED)
def test_opentelemetrys_own_variables_enable_traces(environ, expected):
    assert wanted(environ) is expected


REASONS = [
    (
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        "The protocol grpc is not supported. Set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf.",
    ),
    ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "The protocol http/json is not supported"),
    ({"OTEL_BSP_MAX_QUEUE_SIZE": "canary"}, "OTEL_ variables of the environment cannot be used"),
]


@pytest.mark.parametrize(("environ", "sentence"), REASONS)
def test_an_unsupported_setting_is_explained_without_its_value(environ, sentence):
    services = Services()
    previous = list(services.events.observers)
    reason = Traces(services, None).open(ENDPOINT | environ)
    assert sentence in reason
    assert "canary" not in reason
    assert services.events.observers == previous
    assert not services.events.continues_traces


async def test_calls_are_observed_from_open_to_done(monkeypatch):
    services = Services()
    previous = list(services.events.observers)
    traces = Traces(services, None)
    assert traces.open(ENDPOINT) is None
    assert len(services.events.observers) == len(previous) + 1
    await traces.done()
    await traces.done()
    assert services.events.observers == previous
