"""Requests as large as images and documents make them: they arrive whole, and are not kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.aws_signing import ask, signed, signing_simulator, signing_wirekey, written
from tests.signing.requests import HEADERS
from wirekey.wire.request_body import PIECE

LARGE = 24 * 1024 * 1024


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = signing_simulator(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    with signing_wirekey(tmp_path_factory.mktemp("wirekey"), simulator) as running:
        yield running


def body_of(size: int) -> bytes:
    frame = len(json.dumps(asking("")))
    return json.dumps(asking("".join(chr(97 + n % 26) for n in range(size - frame)))).encode()


def asking(text: str) -> dict:
    return {"messages": [{"role": "user", "content": [{"text": text}]}]}


def send(proxy, body: bytes, number: str, *framing: str, chunked: bytes | None = None):
    head = signed(proxy, body=body, headers=HEADERS | {"amz-sdk-invocation-id": number})
    return ask(proxy, written(head, body if chunked is None else chunked, *framing))


@pytest.mark.parametrize("size", [200, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_of_any_size_arrives_byte_for_byte(proxy, simulator, size, framing):
    simulator.forget()
    body = body_of(size)
    assert len(body) == size
    if framing == "length":
        answer = send(proxy, body, f"{size} whole")
    else:
        half = size // 2
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]))
        answer = send(proxy, body, f"{size} chunks", "Transfer-Encoding: chunked", chunked=pieces + b"0\r\n\r\n")
    # The simulator checks the signature made over the hash of what was sent on.
    assert answer.status == 200, answer
    (length,) = [value for name, value in simulator.seen[0].headers if name.lower() == b"content-length"]
    assert int(length) == size


def test_large_bodies_are_gone_when_their_calls_are(proxy, simulator):
    body = body_of(LARGE)
    resident = []
    for number in range(6):
        assert send(proxy, body, f"large {number}").status == 200
        simulator.forget()
        resident.append(resident_bytes(proxy.process.pid))
    assert resident[-1] - resident[1] < 2 * LARGE


def resident_bytes(process: int) -> int:
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        pytest.skip("this system has no /proc to read memory from")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
