"""The settings of audit sinks, and what `config check` and doctor say of them."""

from __future__ import annotations

import json

import pytest

from tests.features.audit_sinks.syslog_server import SyslogServer
from tests.support.ports import free_port
from wirekey.config import load
from wirekey.config.problems import ConfigError
from wirekey.core.egress.upstream_proxy import no_proxy_for
from wirekey.features.audit_sinks.checks import findings, lines
from wirekey.features.audit_sinks.config import AuditSinksSetting, SyslogAddress
from wirekey.features.audit_sinks.making import sinks_of

TLS = {"type": "syslog", "address": "tls://logs.example"}


def loaded(folder, **audit):
    (folder / "wirekey.yaml").write_text(json.dumps({"audit": audit}))
    return load(folder / "wirekey.yaml", {})


def problem(folder, **audit) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, **audit)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tls://logs.example", "tls://logs.example:6514"),
        ("tcp://10.0.0.7:601", "tcp://10.0.0.7:601"),
        ("udp://[fd00::7]", "udp://[fd00::7]:514"),
    ],
)
def test_an_address_has_the_port_of_its_transport(text, shown):
    assert str(SyslogAddress.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "logs.example",
        "https://logs.example",
        "tls://",
        "tls://user:secret-of-sink@logs.example",
        "tls://logs.example/path",
        "tls://logs.example?x=1",
        "tls://logs.example:0",
        "tls://logs.example:99999",
        7,
    ],
)
def test_a_wrong_address_is_refused_without_quoting_it(tmp_path, text):
    found = problem(tmp_path, sinks=[{"type": "syslog", "address": text}])
    assert "audit.sinks[0].address: must be tls://HOST:PORT, tcp://HOST:PORT or udp://HOST:PORT" in found
    assert "secret-of-sink" not in found


@pytest.mark.parametrize(
    ("audit", "message"),
    [
        ({"sinks": [{"type": "syslog"}]}, "needs address"),
        ({"sinks": [TLS, TLS]}, "two sinks have the name syslog"),
        ({"sinks": [{**TLS, "name": "Not Good"}]}, "lower-case letters, digits"),
        ({"sinks": [{**TLS, "address": "udp://logs.example", "ca_file": "ca.pem"}]}, "ca_file is only for"),
        ({"require_sink": True}, "require_sink needs a sink that confirms"),
        (
            {"require_sink": True, "sinks": [{**TLS, "address": "udp://logs.example"}]},
            "require_sink needs a sink that confirms",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, audit, message):
    assert message in problem(tmp_path, **audit)


def test_a_plain_connection_is_named_in_config_check(tmp_path):
    plain = {"type": "syslog", "name": "old", "address": "tcp://logs.example"}
    config = loaded(tmp_path, sinks=[TLS, plain], require_sink=True)
    first, second, last = lines(config)
    assert first == "calls are also sent to the audit sink syslog, tls://logs.example:6514"
    assert "old, tcp://logs.example:514 (not encrypted" in second
    assert "503" in last


def test_no_sink_is_the_default(tmp_path):
    config = loaded(tmp_path)
    assert config.audit.part(AuditSinksSetting).sinks == ()
    assert lines(config) == []
    assert list(findings(config)) == []


def test_doctor_finds_a_sink_that_does_not_listen(tmp_path):
    server = SyslogServer("tcp")
    try:
        sinks = [
            {"type": "syslog", "name": "up", "address": server.url},
            {"type": "syslog", "name": "down", "address": f"tcp://127.0.0.1:{free_port()}"},
            {"type": "syslog", "name": "unsure", "address": "udp://127.0.0.1:9"},
        ]
        up, down, unsure = findings(loaded(tmp_path, sinks=sinks))
    finally:
        server.stop()
    assert (up.subject, up.level) == ("up", "ok")
    assert (down.subject, down.level) == ("down", "wrong")
    assert "Connection refused" in down.message
    assert down.fix
    assert (unsure.level, "UDP does not show" in unsure.message) == ("ok", True)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), ("no certificate", "it is not a PEM file")]
)
@pytest.mark.parametrize(
    "sink",
    [
        {"type": "syslog", "address": "tls://127.0.0.1:9"},
        {"type": "otlp", "endpoint": "https://127.0.0.1:9/v1/logs"},
        {
            "type": "s3",
            "endpoint": "https://127.0.0.1:9",
            "bucket": "audit",
            "region": "eu-west-1",
            "retention_days": 1,
        },
    ],
)
def test_a_ca_that_cannot_be_used_is_named(tmp_path, sink, content, reason):
    ca_file = tmp_path / "ca.pem"
    if content:
        ca_file.write_text(content)
    plain = {"type": "syslog", "name": "plain", "address": "udp://127.0.0.1:9"}
    config = loaded(tmp_path, sinks=[plain, {**sink, "ca_file": str(ca_file)}])
    with pytest.raises(ConfigError) as caught:
        sinks_of(config, no_proxy_for)
    message = f"audit.sinks[1].ca_file: {ca_file} cannot be used: {reason}. Name a PEM file of a CA"
    assert message in str(caught.value)
    first, second = findings(config)
    assert (first.level, second.level) == ("ok", "wrong")
    assert message in second.message
