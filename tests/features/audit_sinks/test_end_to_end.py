"""A running Wirekey with a syslog server: each call arrives, also after a kill, and none is made without a sink."""

from __future__ import annotations

import signal

import httpx
import pytest

from tests.features.audit_sinks.log_collector import LogCollector
from tests.features.audit_sinks.programs import Program
from tests.features.audit_sinks.s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.features.audit_sinks.syslog_server import SyslogServer
from tests.support.canaries import Canaries
from tests.support.ports import free_port
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind, wait_for
from tests.support.serving import wirekey as run_wirekey

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}
OF_BUCKET = {"BUCKET_KEY": ACCESS_KEY, "BUCKET_SECRET": SECRET_KEY}
NONE = "The call could not be recorded, so it was not sent: no audit sink accepts events."


@pytest.fixture
def serving(tmp_path, simulator):
    started = []

    def serve(*arguments: str, **audit) -> Wirekey:
        simulator.forget()
        settings = behind(simulator, audit=audit, listen=LISTEN)
        started.append(Wirekey(tmp_path / "wirekey", settings, *arguments, environ=KEY_ENVIRONMENT | OF_BUCKET))
        return started[-1]

    yield serve
    for wirekey in started:
        wirekey.stop()
        assert "Traceback" not in wirekey.output.read_text()


def syslog(address: str, **more) -> dict:
    return {"type": "syslog", "address": address, **more}


def metric(wirekey: Wirekey, name: str) -> float | None:
    text = httpx.get(f"http://{wirekey.running.console}/metrics", trust_env=False, timeout=60).text
    lines = [line for line in text.splitlines() if line.startswith(f'{name}{{sink="syslog"}}')]
    return float(lines[0].split()[-1]) if lines else None


def test_each_call_arrives_with_nothing_that_is_secret(serving, tmp_path):
    server = SyslogServer("tls", tmp_path / "certificates")
    try:
        wirekey = serving(sinks=[syslog(server.url, ca_file=str(server.ca_file))])
        program, canaries = Program(wirekey), Canaries()
        for name, key in PROVIDER_KEYS.items():
            canaries.add(f"key of {name}", key)
        canaries.add("token", program.token)
        assert program.call(canaries("prompt")).status_code == 200
        assert program.call(canaries("prompt"), key=canaries("wrong token", "wk_")).status_code == 401
        allowed, denied = server.wait_for(2)
        assert (allowed["agent_id"], allowed["outcome"], allowed["status"]) == ("alice", "completed", 200)
        assert (denied["outcome"], denied["status"]) == ("denied", 401)
        assert [message.severity for message in server.messages] == [6, 4]
        stored = {event["id"]: event for event in wirekey.events()}
        assert allowed["input_tokens"] == stored[allowed["id"]]["input_tokens"]
        assert not canaries.found_in(repr(server.events).encode())
        wait_for(lambda: metric(wirekey, "wirekey_audit_sink_waiting_links") == 0, "the metrics")
        assert metric(wirekey, "wirekey_audit_sink_events_total") == 2
        assert metric(wirekey, "wirekey_audit_sink_accepts") == 1
    finally:
        server.stop()


def test_a_collector_gets_each_call_and_its_secret_is_nowhere_else(serving, tmp_path):
    collector, canary = LogCollector(), "canary-of-the-collector-51fe"
    try:
        (tmp_path / "secret").write_text(canary)
        (tmp_path / "secret").chmod(0o600)
        headers = {"x-api-key": f"file:{tmp_path}/secret"}
        sink = {"type": "otlp", "endpoint": collector.url, "headers": headers, "format": "ocsf"}
        wirekey = serving(sinks=[sink], require_sink=True)
        program = Program(wirekey)
        wait_for(lambda: program.call().status_code == 200, "the first check")
        program.call("a-canary-of-a-prompt")
        count = len(wirekey.finished_events(2))
        bodies = collector.wait_for(count)
        assert {body["class_uid"] for body in bodies} == {6003}
        assert bodies[-1]["actor"]["user"]["uid"] == "alice"
        assert collector.headers[-1]["x-api-key"] == canary
        shown = run_wirekey(wirekey.folder, "config", "show", "--config", "wirekey.yaml", environ=wirekey.environ)
        assert f"file:{tmp_path}/secret" in shown.stdout
        written = b"".join(file.read_bytes() for file in wirekey.folder.rglob("*") if file.is_file())
        assert canary.encode() not in written + shown.stdout.encode()
        assert "a-canary-of-a-prompt" not in repr(bodies)
    finally:
        collector.stop()


def test_a_bucket_gets_the_calls_at_the_end(serving):
    server = S3Server()
    try:
        sink = {"type": "s3", "bucket": "audit", "region": "eu-west-1", "endpoint": server.url, "retention_days": 1}
        wirekey = serving(sinks=[{**sink, "access_key": "env:BUCKET_KEY", "secret_key": "env:BUCKET_SECRET"}])
        program = Program(wirekey)
        for _ in range(3):
            assert program.call().status_code == 200
        assert wirekey.stop() == 0
        assert not server.wrong
        assert [event["id"] for event in server.events] == [event["id"] for event in wirekey.events()]
        assert len(server.objects) == 1
        written = b"".join(file.read_bytes() for file in wirekey.folder.rglob("*") if file.is_file())
        assert SECRET_KEY.encode() not in written
    finally:
        server.stop()


def test_what_a_killed_process_has_not_delivered_is_delivered_by_the_next(serving):
    port = free_port()
    wirekey = serving(sinks=[syslog(f"tcp://127.0.0.1:{port}")])
    program = Program(wirekey)
    for _ in range(3):
        assert program.call().status_code == 200
    wirekey.finished_events(3)
    wirekey.stop(signal.SIGKILL)
    server = SyslogServer("tcp", port=port)
    try:
        wirekey.start()
        assert len(server.wait_for(3)) == 3
        assert program.call().status_code == 200
        server.wait_for(4)
        assert wirekey.stop() == 0
        wirekey.start()
        assert program.call().status_code == 200
        server.wait_for(5)
        assert wirekey.stop() == 0
        assert [event["id"] for event in server.events] == [event["id"] for event in wirekey.events()]
    finally:
        server.stop()


def test_the_last_calls_are_delivered_at_the_end(serving):
    server = SyslogServer("tcp")
    try:
        wirekey = serving(sinks=[syslog(server.url)])
        program = Program(wirekey)
        for _ in range(5):
            assert program.call().status_code == 200
        assert wirekey.stop() == 0
        assert len(server.wait_for(5)) == 5
    finally:
        server.stop()


def test_no_call_is_made_while_no_sink_accepts_events(serving, simulator):
    port = free_port()
    wirekey = serving(sinks=[syslog(f"tcp://127.0.0.1:{port}")], require_sink=True)
    program = Program(wirekey)
    wait_for(lambda: NONE in program.call().text, "the failure")
    refused = program.call()
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "cannot_record"
    health = httpx.get(f"http://{wirekey.running.console}/health", trust_env=False, timeout=60).json()
    assert health["dependencies"]["audit_sinks"] == {"available": False, "reason": "no audit sink accepts events"}
    assert httpx.get(f"http://{wirekey.running.console}/ready", trust_env=False, timeout=60).status_code == 200
    assert not simulator.seen, "nothing was sent to the provider"
    server = SyslogServer("tcp", port=port)
    try:
        wait_for(lambda: program.call().status_code == 200, "the sink to be noticed")
        wait_for(lambda: any(event["status"] == 200 for event in server.events), "the call")
        assert any(event["status"] == 503 for event in server.events), "refused calls are sent, too"
    finally:
        server.stop()
    wait_for(lambda: program.call().status_code == 503, "the sink to be missed")


def test_of_several_workers_one_delivers_and_all_refuse(serving):
    port = free_port()
    wirekey = serving("--workers", "2", sinks=[syslog(f"tcp://127.0.0.1:{port}")], require_sink=True)
    program = Program(wirekey)
    wait_for(lambda: all(NONE in program.call().text for _ in range(8)), "all workers to refuse")
    server = SyslogServer("tcp", port=port)
    try:
        wait_for(lambda: all(program.call().status_code == 200 for _ in range(8)), "all workers to call")
        wirekey.finished_events(len(wirekey.events()))
        assert wirekey.stop() == 0
        assert server.connections == 1
        received = [event["id"] for event in server.events]
        assert len(received) == len(set(received))
        assert set(received) == {event["id"] for event in wirekey.events()}
    finally:
        server.stop()


def test_config_check_and_doctor_name_the_sinks(serving):
    wirekey = serving(sinks=[syslog(f"tcp://127.0.0.1:{free_port()}")])
    arguments = ("--config", "wirekey.yaml")
    checked = run_wirekey(wirekey.folder, "config", "check", *arguments, environ=wirekey.environ)
    assert "calls are also sent to the audit sink syslog, tcp://127.0.0.1:" in checked.stdout
    found = run_wirekey(wirekey.folder, "doctor", *arguments, environ=wirekey.environ)
    assert "does not accept events: it cannot be reached (Connection refused)" in found.stdout
