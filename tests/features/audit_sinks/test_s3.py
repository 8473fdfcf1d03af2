"""Events in a bucket with an object lock, and buckets that fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.features.audit_sinks.s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.features.audit_sinks.test_config import loaded, problem
from tests.support.ports import free_port
from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit.event import event_of
from wirekey.core.egress import http_client
from wirekey.core.secret import Secret
from wirekey.core.signing.request import SigV4Credentials
from wirekey.features.audit_sinks.config import AuditSinkConfig
from wirekey.features.audit_sinks.making import sinks_of
from wirekey.features.audit_sinks.s3 import S3Sink
from wirekey.features.audit_sinks.sink import SinkError

PAIR = SigV4Credentials(ACCESS_KEY, Secret(SECRET_KEY))
S3 = {"type": "s3", "bucket": "audit", "region": "eu-west-1", "retention_days": 30}


def direct(*_: object) -> None:
    """No proxy."""


def sink_of(url: str, pair: SigV4Credentials = PAIR, **more) -> S3Sink:
    return S3Sink(AuditSinkConfig(**{**S3, "endpoint": url, **more}), lambda: pair, direct)


def events(count: int = 3) -> list[dict]:
    return [event_of(finish(call_of())) for _ in range(count)]


@pytest.fixture
def server_of():
    servers = []

    def start(*behaviours: int | str, **more) -> S3Server:
        servers.append(S3Server(*behaviours, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("mode", ["compliance", "governance"])
def test_a_bucket_gets_an_object_that_is_locked(server_of, mode):
    server, sent = server_of(), events()
    before = datetime.now(UTC).replace(microsecond=0)
    sink_of(server.url, mode=mode, prefix="wirekey/eu 1/").send(sent)
    assert server.wait_for(3) == [{name: value for name, value in one.items() if value is not None} for one in sent]
    [(path, (found, until))] = server.retained.items()
    assert path.startswith(f"/audit/wirekey/eu%201/{sent[0]['time'][:4]}/")
    assert path.endswith(".ndjson")
    assert sent[0]["id"] in path
    assert found == mode.upper()
    assert timedelta(0) <= until - before - timedelta(days=30) < timedelta(minutes=5)


def test_the_same_events_are_the_same_object(server_of):
    server, sent = server_of("lose"), events()
    sink = sink_of(server.url)
    with pytest.raises(SinkError):
        sink.send(sent)
    sink.send(sent)
    assert len(server.objects) == 1
    sink.send(sent[1:])
    assert len(server.objects) == 2


def test_a_check_finds_a_bucket_without_a_lock(server_of):
    sink_of(server_of().url).check()
    with pytest.raises(SinkError, match="status 404: there is no such bucket, or it has no object lock"):
        sink_of(server_of(locked=False).url).check()


def test_another_secret_is_refused_and_not_quoted(server_of):
    pair = SigV4Credentials(ACCESS_KEY, Secret("canary-of-another-secret-key"))
    sink = sink_of(server_of().url, pair)
    with pytest.raises(SinkError) as caught:
        sink.send(events())
    assert str(caught.value) == "it responds with status 403: its credentials may not do this"
    assert "canary" not in repr(caught.value) + repr(vars(sink))


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (500, "it responds with status 500"),
        (503, "it responds with status 503"),
        (301, "it responds with status 301: the bucket is in another region"),
        ("close", "its response cannot be read (RemoteProtocolError)"),
        ("hang", "it does not respond in time"),
    ],
)
def test_a_bucket_that_fails_gets_the_events_later(server_of, monkeypatch, behaviour, message):
    server, sent = server_of(behaviour), events()
    sink = sink_of(server.url)
    with monkeypatch.context() as patched:
        if behaviour == "hang":
            patched.setattr(http_client, "SILENCE", 0.3)
        with pytest.raises(SinkError) as caught:
            sink.send(sent)
    assert str(caught.value) == message
    sink.send(sent)
    assert len(server.wait_for(3)) == 3


def test_a_bucket_that_is_not_there_is_reported():
    with pytest.raises(SinkError, match="it cannot be reached"):
        sink_of(f"http://127.0.0.1:{free_port()}").send(events())


# Settings.


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ({"type": "s3", "region": "eu-west-1", "retention_days": 1}, "needs bucket"),
        ({"type": "s3", "bucket": "audit", "retention_days": 1}, "needs region"),
        ({"type": "s3", "bucket": "audit", "region": "eu-west-1"}, "needs retention_days"),
        ({**S3, "bucket": "Not/A/Bucket"}, "must be the name of a bucket"),
        ({**S3, "prefix": "../x"}, "must be a prefix"),
        ({**S3, "access_key": "env:X"}, "access_key and secret_key belong together"),
        ({**S3, "secret_key": SECRET_KEY, "access_key": "env:X"}, "audit.sinks[0].secret_key"),
        ({**S3, "mode": "none"}, "audit.sinks[0].mode"),
        ({**S3, "retention_days": 0}, "audit.sinks[0].retention_days"),
        ({**S3, "endpoint": "http://minio.example"}, "audit.sinks[0].endpoint"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, sink, message):
    found = problem(tmp_path, sinks=[sink])
    assert message in found
    assert SECRET_KEY not in found


def test_a_bucket_of_aws_has_its_own_host(tmp_path):
    (tmp_path / "key").write_text(ACCESS_KEY)
    (tmp_path / "secret").write_text(SECRET_KEY)
    pair = {"access_key": f"file:{tmp_path}/key", "secret_key": f"file:{tmp_path}/secret"}
    made = sinks_of(loaded(tmp_path, sinks=[{**S3, **pair, "flush_seconds": 5}]), direct)["s3"]
    assert (made.place, made.linger) == ("https://audit.s3.eu-west-1.amazonaws.com", 5.0)
    assert made._credentials() == PAIR
    assert SECRET_KEY not in repr(vars(made))


def test_without_a_pair_the_credentials_are_those_of_awss_chain(tmp_path, monkeypatch, server_of):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    server = server_of()
    made = sinks_of(loaded(tmp_path, sinks=[{**S3, "endpoint": server.url}]), direct)["s3"]
    made.send(events())
    assert len(server.wait_for(3)) == 3


def test_missing_credentials_are_reported(tmp_path, monkeypatch, server_of):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = sinks_of(loaded(tmp_path, sinks=[{**S3, "endpoint": server_of().url}]), direct)["s3"]
    with pytest.raises(SinkError, match="AWS"):
        made.send(events())
