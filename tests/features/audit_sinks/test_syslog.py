"""Events as syslog messages, over each transport, and servers that fail."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.features.audit_sinks.syslog_server import SyslogServer
from tests.support.ports import free_port
from tests.support.recorded_calls import call_of, finish
from tests.support.running import wait_for
from wirekey.core.audit.event import event_of
from wirekey.core.call import Outcome
from wirekey.features.audit_sinks import sink as sinks
from wirekey.features.audit_sinks import syslog
from wirekey.features.audit_sinks.config import AuditSinkConfig
from wirekey.features.audit_sinks.sink import RejectedEventsError, SinkError
from wirekey.features.audit_sinks.syslog import SyslogSink
from wirekey.features.audit_sinks.syslog_message import frame, header_field, message

TRANSPORTS = ["udp", "tcp", "tls"]


def events(count: int, **more) -> list[dict]:
    return [event_of(finish(call_of(path=f"/v1/{number}"), **more)) for number in range(count)]


@contextlib.contextmanager
def sink_of(server: SyslogServer, **more):
    ca = {"ca_file": server.ca_file} if server.transport == "tls" else {}
    sink = SyslogSink(AuditSinkConfig(type="syslog", address=server.url, **ca, **more))
    try:
        yield sink
    finally:
        sink.close()


@pytest.fixture
def server_of(tmp_path):
    servers = []

    def start(transport: str, *behaviours: str) -> SyslogServer:
        servers.append(SyslogServer(transport, tmp_path, *behaviours))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_gets_each_event_on_one_connection(server_of, transport):
    server = server_of(transport)
    sent = events(40)
    with sink_of(server, facility="authpriv") as sink:
        sink.check()
        sink.send(sent[:20])
        sink.send(sent[20:])
        received = server.wait_for(40)
    assert received == [{name: value for name, value in event.items() if value is not None} for event in sent]
    assert {(each.facility, each.app, each.id) for each in server.messages} == {(10, "wirekey", "call")}
    assert server.connections == (0 if transport == "udp" else 1)


@pytest.mark.parametrize(
    ("outcome", "severity"), [("denied", 4), ("upstream_error", 5), ("interrupted", 5), ("completed", 6)]
)
def test_the_severity_says_how_a_call_ended(server_of, outcome, severity):
    server = server_of("tcp")
    with sink_of(server) as sink:
        sink.send(events(1, outcome=Outcome(outcome)))
        server.wait_for(1)
    assert server.messages[0].severity == severity


def test_an_event_that_is_too_long_for_a_datagram_does_not_hold_up_the_others(server_of):
    server = server_of("udp")
    first, long, last = events(3)
    long["path"] = "/" + "x" * 70_000
    with sink_of(server) as sink:
        with pytest.raises(RejectedEventsError) as rejected:
            sink.send([first, long, last])
        assert rejected.value.count == 1
        received = server.wait_for(2)
    assert [each["id"] for each in received] == [first["id"], last["id"]]


def test_a_frame_has_the_length_of_its_message_in_bytes():
    assert frame(b"<134>1 - - - - - - {}") == b"21 <134>1 - - - - - - {}"


@pytest.mark.parametrize(
    ("name", "field"), [("eu-1", "eu-1"), ("", "-"), ("a b\n<1>", "a_b_<1>"), ("é", "_"), ("x" * 300, "x" * 255)]
)
def test_a_field_of_the_header_is_visible_ascii(name, field):
    assert header_field(name) == field


def test_a_call_without_a_time_has_the_sign_for_none():
    event = events(1)[0] | {"time": None}
    assert message(event, b"{}", "local0", "eu-1", 7) == b"<134>1 - eu-1 wirekey 7 call - {}"


# Servers that fail.


def refusal(sink: SyslogSink, count: int = 1) -> str:
    with pytest.raises(SinkError) as caught:
        sink.send(events(count))
    return str(caught.value)


def test_a_server_that_is_not_there_is_reported():
    sink = SyslogSink(AuditSinkConfig(type="syslog", address=f"tcp://127.0.0.1:{free_port()}"))
    assert refusal(sink) == "it cannot be reached (Connection refused)"


def test_a_certificate_of_another_ca_is_refused(server_of):
    server = server_of("tls")
    sink = SyslogSink(AuditSinkConfig(type="syslog", address=server.url))
    assert refusal(sink) == "its certificate is not trusted"
    assert server.messages == []


def test_a_server_that_closes_fails_and_gets_the_events_on_the_next_connection(server_of):
    server = server_of("tcp", "close")
    with sink_of(server) as sink:
        with pytest.raises(SinkError):
            sink.send(events(500))
        sink.send(sent := events(2))
        assert [event["id"] for event in server.wait_for(2)] == [event["id"] for event in sent]


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced(server_of):
    server = server_of("tcp", "close")
    with sink_of(server) as sink:
        sink.check()
        wait_for(lambda: sink._connection and syslog.has_ended(sink._connection), "the end")
        sink.send(events(1))
        server.wait_for(1)
    assert server.connections == 2


def test_a_server_that_does_not_read_does_not_accept(server_of, monkeypatch):
    monkeypatch.setattr(syslog, "TIMEOUT", 0.3)
    server = server_of("tcp", "hang")
    with sink_of(server) as sink:
        assert refusal(sink, 20_000) == "it does not respond in time"


def test_a_server_that_never_finishes_tls_does_not_accept(server_of, monkeypatch):
    monkeypatch.setattr(syslog, "TIMEOUT", 0.3)
    server = server_of("tls", "hang")
    with sink_of(server) as sink:
        assert refusal(sink) == "it does not respond in time"


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "::1%lo"])
def test_an_address_that_no_server_of_an_operator_has_is_not_dialled(monkeypatch, address):
    monkeypatch.setattr(sinks, "resolve", lambda *_: (address,))
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it was dialled"))
    sink = SyslogSink(AuditSinkConfig(type="syslog", address="tcp://logs.example"))
    assert refusal(sink).startswith("logs.example resolves to ")
