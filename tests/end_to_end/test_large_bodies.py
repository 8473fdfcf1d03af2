"""Requests as large as images and documents make them: they arrive whole, and are not kept."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from tests.benchmarks.large_bodies import body_with_document, measured, resident, spooled
from tests.benchmarks.large_bodies import send as send_large
from tests.support.aws_signing import HOST, MODELS, REAL, ask, proxy, signed, signing_wirekey, simulator, written
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import RawUpstream
from tests.support.running import PATIENCE, SimulatorThread, wait_for, wirekey_behind
from tests.support.signed_requests import HEADERS
from tests.support.stream_formats import RawWay
from wirekey.core.body import PIECE, SPOOL_ABOVE
from wirekey.core.call import new_call_id
from wirekey_simulator.certificate import prepare_certificate

__all__ = ["proxy", "simulator"]

MIB = 1024 * 1024
LARGE = 24 * MIB


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
        response = send(proxy, body, f"{size} whole")
    else:
        half = size // 2
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]))
        response = send(proxy, body, f"{size} chunks", "Transfer-Encoding: chunked", chunked=pieces + b"0\r\n\r\n")
    # The simulator checks the signature made over the hash of what was sent on.
    assert response.status == 200, response
    (length,) = [value for name, value in simulator.seen[0].headers if name.lower() == b"content-length"]
    assert int(length) == size


def test_large_bodies_are_removed_with_their_calls(proxy, simulator):
    body = body_of(LARGE)
    resident = []
    for number in range(6):
        assert send(proxy, body, f"large {number}").status == 200
        simulator.forget()
        resident.append(resident_bytes(proxy.process.pid))
    assert resident[-1] - resident[1] < 2 * LARGE
    assert spooled(proxy) == 0


AT_ONCE = 6


def test_many_concurrent_bodies_are_in_files_and_not_in_memory(proxy, simulator):
    body = body_with_document(LARGE)
    assert send(proxy, body, "before").status == 200
    responses, memory = measured(proxy, [lambda: send_large(proxy, body)] * AT_ONCE)
    simulator.forget()
    assert [response.status for response in responses] == [200] * AT_ONCE
    assert max(memory.files) > 1
    # What each may hold is the part below the threshold, and what is in progress between two sockets.
    assert memory.anonymous < AT_ONCE * (SPOOL_ABOVE / MIB + 6) < AT_ONCE * LARGE / MIB / 2
    assert memory.peak < AT_ONCE * LARGE / MIB / 1.5
    assert spooled(proxy) == 0


def test_a_tampered_large_body_is_refused_and_leaves_no_file(proxy, simulator):
    simulator.forget()
    body = body_with_document(2 * SPOOL_ABOVE)
    head = signed(proxy, body=body)
    response = ask(proxy, written(head, body.replace(b"sum up", b"sum op")))
    assert (response.status, response.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert simulator.seen == []
    assert spooled(proxy) == 0


@pytest.mark.parametrize("cut", ["in the body", "before the response"])
def test_a_disconnected_client_leaves_no_file_and_one_event(proxy, cut):
    began = new_call_id()
    body = body_with_document(2 * SPOOL_ABOVE)
    request = written(signed(proxy, body=body), body)
    with RawClient(proxy.running.forward) as client:
        assert client.connect(f"{HOST}:443").status == 200
        client.start_tls(proxy.root, HOST)
        client.send(request[:-1] if cut == "in the body" else request)
        if cut == "in the body":
            wait_for(lambda: spooled(proxy) == 1, "the body to lie in a file")
    wait_for(lambda: spooled(proxy) == 0, "the file to be gone")
    assert proxy.finished_event(began)["outcome"] == "client_cancelled"


def test_an_unwritable_state_folder_is_503_in_the_shape_of_aws(proxy, simulator):
    simulator.forget()
    began, folder = new_call_id(), proxy.state / "tmp"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    try:
        response = send(proxy, body_with_document(2 * SPOOL_ABOVE), "no folder")
        small = send(proxy, body_of(1000), "small")
    finally:
        folder.mkdir(mode=0o700)
    assert (response.status, response.headers["x-amzn-errortype"]) == (503, "ServiceUnavailableException")
    assert "could not write it to its state folder" in response.message
    assert small.status == 200
    assert send(proxy, body_with_document(2 * SPOOL_ABOVE), "folder again").status == 200
    refused, *_ = proxy.finished_events(3, began)
    assert (refused["outcome"], refused["status"]) == ("denied", 503)


def test_an_overridden_model_in_a_large_body_is_signed_as_it_is_sent(tmp_path, simulator):
    simulator.forget()
    with signing_wirekey(tmp_path, simulator, model_override=MODELS[1]) as proxy:
        body = json.dumps(asking("x" * 2 * SPOOL_ABOVE) | {"inferenceConfig": {"maxTokens": 10}}).encode()
        path = "/model/amazon.nova-lite-v1%3A0/converse"
        assert ask(proxy, written(signed(proxy, path, body=body), body)).status == 200
        event = proxy.finished_event()
        assert (event["requested_model"], event["model"]) == ("amazon.nova-lite-v1:0", MODELS[1])
        assert REAL[0] in str(simulator.seen[0].headers)
        assert spooled(proxy) == 0


@pytest.mark.parametrize("protocols", [("http/1.1",), ("h2", "http/1.1")], ids=["h1-upstream", "h2-upstream"])
def test_a_large_chat_over_http2_passes_and_is_spooled_to_a_file(tmp_path, protocols):
    """Streamed, so that Wirekey asks for the usage in it: an edit."""
    simulator = SimulatorThread(tmp_path / "simulator", protocols=protocols)
    with wirekey_behind(tmp_path / "wirekey", simulator) as proxy:
        way = RawWay(proxy.root, proxy=proxy.proxy_url("alice", proxy.add_agent("alice")), http2=True)
        asked = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "x" * LARGE}]}
        request = way.request("openai", "POST", "/v1/chat/completions", json=asked)
        (response,), memory = measured(proxy, [lambda: way.client.send(request)])
        way.client.close()
        assert memory.anonymous < LARGE / MIB / 1.5
        assert (response.status_code, response.http_version, "[DONE]" in response.text) == (200, "HTTP/2", True)
        assert '"usage"' not in response.text
        event = proxy.finished_event()
        assert (event["outcome"], event["message_count"]) == ("completed", 1)
        assert event["request_bytes"] > LARGE
        assert event["input_tokens"]
        assert simulator.seen[0].protocol == ("h2" if "h2" in protocols else "h1")
        assert spooled(proxy) == 0
    simulator.stop()


class ShutWindow:
    """An HTTP/2 provider that reads a first window of a request, and the remainder once a test opens it."""

    def __init__(self) -> None:
        self.window_is_full, self.may_go_on = threading.Event(), threading.Event()
        self.received = 0

    def talk(self, connection) -> None:
        http = H2Connection(H2Configuration(client_side=False))
        http.initiate_connection()
        unacknowledged = 0
        connection.sendall(http.data_to_send())
        while data := connection.recv(65536):
            for event in http.receive_data(data):
                if isinstance(event, DataReceived):
                    self.received += len(event.data)
                    unacknowledged += event.flow_controlled_length
                    if unacknowledged == http.local_settings.initial_window_size and not self.may_go_on.is_set():
                        self.window_is_full.set()
                        self.may_go_on.wait(PATIENCE)
                    if self.may_go_on.is_set():
                        http.acknowledge_received_data(unacknowledged, event.stream_id)
                        unacknowledged = 0
                elif isinstance(event, StreamEnded):
                    http.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/json")])
                    http.send_data(event.stream_id, b"{}", end_stream=True)
            connection.sendall(http.data_to_send())


def test_data_beyond_the_window_of_an_http2_provider_stays_in_the_file(tmp_path):
    provider = ShutWindow()
    with RawUpstream(tmp_path / "upstream", provider.talk) as upstream, ThreadPoolExecutor() as clients:
        upstream.context.set_alpn_protocols(["h2"])
        upstream.ca_file = prepare_certificate(tmp_path / "upstream")[1]
        with wirekey_behind(tmp_path / "wirekey", upstream) as proxy:
            way = RawWay(proxy.root, proxy=proxy.proxy_url("alice", proxy.add_agent("alice")), http2=True)
            asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * LARGE}]}
            before = resident(proxy.process.pid, "RssAnon")
            response = clients.submit(
                way.client.send, way.request("openai", "POST", "/v1/chat/completions", json=asked)
            )
            assert provider.window_is_full.wait(PATIENCE)
            for _ in range(50):
                assert resident(proxy.process.pid, "RssAnon") - before < LARGE / MIB / 2
                time.sleep(0.01)
            assert spooled(proxy) == 1
            provider.may_go_on.set()
            assert response.result(PATIENCE).status_code == 200
            way.client.close()
            assert proxy.finished_event()["request_bytes"] == provider.received > LARGE
            assert spooled(proxy) == 0


def resident_bytes(process: int) -> int:
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        pytest.skip("this system has no /proc to read memory from")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
