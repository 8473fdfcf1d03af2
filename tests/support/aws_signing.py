"""A Wirekey that signs for Bedrock with a real-looking pair, and clients that sign with their agent's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import signed_requests as requests
from tests.support.raw_client import RawClient, RawResponse
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind
from wirekey.core.call import new_call_id
from wirekey.core.signing.request import RequestHead

REAL = ("AKIAREALORGANISATION", "real-secret-of-the-organisation-41d0aa")
HOST = requests.HOST
MODELS = [
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "us.amazon.nova-pro-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
]
BODY = requests.BODY
PATH = "/model/us.amazon.nova-pro-v1%3A0/converse"


def signing_simulator(folder: Path) -> SimulatorThread:
    """A simulator that recomputes the signature made with the real pair."""
    return SimulatorThread(folder, aws_credentials={REAL[0]: REAL[1]})


@contextlib.contextmanager
def signing_wirekey(folder: Path, simulator: SimulatorThread, *, bedrock=None, **more) -> Iterator[Wirekey]:
    """A Wirekey with the real pair; `token` and `pair` are alice's. There is also bob. `bedrock`: more of it."""
    configuration = behind(simulator, **more)
    configuration["providers"]["bedrock"] |= bedrock or {}
    configuration["providers"]["bedrock"]["aws"] = {
        "access_key": "env:REAL_ID",
        "secret_key": "env:REAL_SECRET",
    }
    environ = {**KEY_ENVIRONMENT, "REAL_ID": REAL[0], "REAL_SECRET": REAL[1]}
    running = Wirekey(folder, configuration, environ=environ)
    try:
        running.token = running.add_agent("alice", role="engineer")
        running.pair = running.agents.pair("alice")
        running.add_agent("bob")
        running.began = new_call_id()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorThread]:
    running = signing_simulator(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, simulator: SimulatorThread) -> Iterator[Wirekey]:
    with signing_wirekey(tmp_path_factory.mktemp("wirekey"), simulator) as running:
        yield running


def signed(wirekey: Wirekey, path: str = PATH, *, at: float | None = None, **more) -> RequestHead:
    """A request as botocore signs it with alice's pair, now where `at` (Unix seconds) is not given.

    Each has a number of its own, as SDKs give them: two of one second would be one request sent twice.
    """
    pair = more.pop("pair", None) or (wirekey.pair.access_key, wirekey.pair.secret.reveal())
    sign = more.pop("sign", requests.signed)
    if sign is requests.signed:
        more.setdefault("headers", requests.HEADERS | {"amz-sdk-invocation-id": str(uuid4())})
    return sign(path, at=time.time() if at is None else at, pair=pair, **more)


def written(head: RequestHead, body: bytes = BODY, *lines: str) -> bytes:
    """The bytes of a signed request over HTTP/1.1, with its length where `lines` do not frame it otherwise."""
    framing = (b"content-length", b"transfer-encoding")
    sent = [name + b": " + value for name, value in head.headers if name.lower() not in framing]
    sent += [line.encode("latin-1") for line in lines]
    if not any(line.lower().startswith(framing) for line in sent):
        sent.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([head.method.encode() + b" " + head.target + b" HTTP/1.1", *sent]) + b"\r\n\r\n" + body


def ask(wirekey: Wirekey, request: bytes, host: str = HOST) -> RawResponse:
    """Send the bytes through CONNECT and TLS, with no other identity than they hold."""
    with RawClient(wirekey.running.forward) as client:
        assert client.connect(f"{host}:443").status == 200
        client.start_tls(wirekey.root, host)
        client.send(request)
        return client.read_response()


def without(head: RequestHead, *names: str) -> RequestHead:
    """The request without these headers, which are lower-case."""
    return replace(head, headers=[pair for pair in head.headers if pair[0].decode().lower() not in names])
