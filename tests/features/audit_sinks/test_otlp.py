"""Events as log records of OpenTelemetry, and collectors that fail."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.features.audit_sinks.log_collector import LogCollector
from tests.features.audit_sinks.test_config import loaded, problem
from tests.support.ports import free_port
from tests.support.recorded_calls import call_of, finish
from wirekey.config.loading import secret_problems
from wirekey.core.audit.event import event_of
from wirekey.core.call import Outcome
from wirekey.core.egress import http_client
from wirekey.core.secret import Secret
from wirekey.features.audit_sinks import sink as sinks
from wirekey.features.audit_sinks.config import AuditSinkConfig
from wirekey.features.audit_sinks.making import sinks_of
from wirekey.features.audit_sinks.otlp import OtlpSink, rejected_records
from wirekey.features.audit_sinks.sink import RejectedEventsError, SinkError

CANARY = "canary-of-the-collector-7f3a"
OTLP = {"type": "otlp", "endpoint": "https://otel.example/v1/logs"}


def direct(*_: object) -> None:
    """No proxy."""


def sink_of(url: str) -> OtlpSink:
    return OtlpSink(AuditSinkConfig(type="otlp", endpoint=url), {"x-api-key": Secret(CANARY)}, direct)


def events(count: int = 3, **more) -> list[dict]:
    return [event_of(finish(call_of(), **more)) for _ in range(count)]


@pytest.fixture
def collector_of():
    collectors = []

    def start(*behaviours: int | str) -> LogCollector:
        collectors.append(LogCollector(*behaviours))
        return collectors[-1]

    yield start
    for collector in collectors:
        collector.stop()


def test_a_collector_gets_each_event_with_its_types(collector_of):
    collector = collector_of()
    sent = events()
    sink_of(collector.url).send(sent)
    assert collector.wait_for(3) == [{name: value for name, value in one.items() if value is not None} for one in sent]
    assert type(collector.bodies[0]["input_tokens"]) is int
    assert type(collector.bodies[0]["cost_usd"]) is float
    assert collector.bodies[0]["stream"] is True
    record = collector.records[0]
    assert record.time_unix_nano == round(datetime.fromisoformat(sent[0]["time"]).timestamp() * 1000) * 10**6
    assert record.observed_time_unix_nano >= record.time_unix_nano
    assert (record.event_name, record.severity_text) == ("wirekey.call", "INFO")
    assert collector.headers[0]["x-api-key"] == CANARY


def test_a_call_that_did_not_succeed_is_a_warning(collector_of):
    collector = collector_of()
    sink_of(collector.url).send(events(1, outcome=Outcome.DENIED))
    collector.wait_for(1)
    assert collector.records[0].severity_number == 13


def test_a_check_sends_no_record(collector_of):
    collector = collector_of()
    sink_of(collector.url).check()
    assert (collector.requests, collector.records, collector.wrong) == (1, [], [])


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (500, "it responds with status 500"),
        (401, "it responds with status 401"),
        (307, "it responds with status 307"),
        ("close", "its response cannot be read (RemoteProtocolError)"),
        ("hang", "it does not respond in time"),
        ("3", "it rejects all events of a delivery"),
    ],
)
def test_a_collector_that_fails_is_reported_without_a_secret(collector_of, monkeypatch, behaviour, message):
    collector = collector_of(behaviour)
    sink = sink_of(collector.url)
    with monkeypatch.context() as patched:
        if behaviour == "hang":
            patched.setattr(http_client, "SILENCE", 0.3)
        with pytest.raises(SinkError) as caught:
            sink.send(events())
    assert str(caught.value) == message
    assert CANARY not in repr(caught.value) + repr(sink) + repr(vars(sink))
    sink.send(events())


def test_events_that_are_rejected_for_good_are_counted(collector_of):
    collector = collector_of("2")
    with pytest.raises(RejectedEventsError) as caught:
        sink_of(collector.url).send(events())
    assert caught.value.count == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"partialSuccess": 7}', b'{"partialSuccess": {}}', b"\xff"])
def test_a_response_that_says_nothing_rejects_nothing(body):
    assert rejected_records(body) == 0


def test_a_collector_that_is_not_there_is_reported():
    with pytest.raises(SinkError, match="it cannot be reached"):
        sink_of(f"http://127.0.0.1:{free_port()}/v1/logs").send(events())


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "224.0.0.1"])
def test_a_name_of_an_address_that_may_not_be_dialled_is_refused(monkeypatch, address):
    monkeypatch.setattr(sinks, "resolve", lambda *_: (address,))
    with pytest.raises(SinkError, match=r"otel\.example resolves to"):
        sink_of("https://otel.example/v1/logs").send(events())


# Settings.


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ({"type": "otlp"}, "needs endpoint, such as https://otel.example/v1/logs"),
        ({**OTLP, "endpoint": "http://otel.example/v1/logs"}, "audit.sinks[0].endpoint:"),
        ({**OTLP, "address": "tls://logs.example"}, "address is not for a sink of type otlp"),
        ({**OTLP, "endpoint": "http://127.0.0.1:4318/v1/logs", "ca_file": "ca.pem"}, "ca_file is only for"),
        ({**OTLP, "headers": {"Host": "env:X"}}, "must be the name of a header that Wirekey does not set itself"),
        ({**OTLP, "headers": {"authorization": f"Bearer {CANARY}"}}, "looks like a secret"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, sink, message):
    found = problem(tmp_path, sinks=[sink])
    assert message in found
    assert CANARY not in found


def test_a_header_whose_secret_is_missing_is_a_problem_of_config_check(tmp_path):
    [found] = secret_problems(loaded(tmp_path, sinks=[{**OTLP, "headers": {"authorization": "env:NOT_SET"}}]))
    assert "audit.sinks[0].headers.authorization" in str(found)
    assert "the environment variable NOT_SET is not set" in str(found)


def test_the_secret_of_a_header_is_read_from_its_reference(tmp_path):
    (tmp_path / "secret").write_text(CANARY)
    config = loaded(tmp_path, sinks=[{**OTLP, "headers": {"authorization": f"file:{tmp_path}/secret"}}])
    made = sinks_of(config, direct)["otlp"]
    assert made._headers["authorization"] == Secret(CANARY)
    assert CANARY not in json.dumps(repr(config)) + repr(vars(made))
