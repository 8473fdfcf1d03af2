"""A running Wirekey that refuses everything, as its setting calls any delay too long, and then nothing any more."""

from __future__ import annotations

import json
import socket
import ssl

import httpx
import pytest

from tests.support.running import SimulatorThread, wait_for, wirekey_behind

SETTINGS = {
    "listen": {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"},
    "limits": {"load_shedding": {"lag": 0}},
}
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


@pytest.fixture
def proxy(simulator, tmp_path):
    with wirekey_behind(tmp_path, simulator, **SETTINGS) as running:
        yield running


@pytest.fixture
def client(proxy):
    """A client of the gateway, whose connection is open before anything is refused."""
    key = proxy.add_agent()
    with httpx.Client(base_url=f"http://{proxy.running.gateway}", trust_env=False, timeout=60) as client:
        client.headers["authorization"] = f"Bearer {key}"
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        yield client


def set_lag(proxy, lag: float) -> None:
    """Change the setting of a running Wirekey."""
    file = proxy.folder / "wirekey.yaml"
    settings = json.loads(file.read_text())
    settings["limits"]["load_shedding"]["lag"] = lag
    file.write_text(json.dumps(settings))


def stage(proxy) -> str:
    text = httpx.get(f"http://{proxy.running.console}/metrics", trust_env=False, timeout=60).text
    return next(line for line in text.splitlines() if line.startswith("wirekey_load_shedding_stage")).split()[1]


def first_response(address: str, sent: bytes) -> bytes:
    """Send a request on a new connection, and return all that comes back until the other side ends."""
    host, _, port = address.rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(sent)
        while data := connection.recv(65536):
            received += data
    return received


def test_everything_is_refused_with_503_and_served_again_afterwards(proxy, client):
    set_lag(proxy, 0.000001)
    wait_for(lambda: stage(proxy) == "4.0", "the last stage")

    refused = client.post("/v1/chat/completions", json=CHAT)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"]["code"] == "overloaded"

    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}"
    for address, sent in (
        (proxy.running.gateway, request),
        (proxy.running.forward, b"CONNECT api.openai.com:443 HTTP/1.1\r\nhost: api.openai.com:443\r\n\r\n"),
    ):
        head, _, body = first_response(address, sent).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in head
        assert json.loads(body)["error"]["code"] == "overloaded"

    context = ssl.create_default_context(cafile=proxy.root)
    port = proxy.running.gateway.rpartition(":")[2]
    within_tls = httpx.post(f"https://localhost:{port}/v1/messages", json=CHAT, verify=context, trust_env=False)
    assert (within_tls.status_code, within_tls.json()["error"]["code"]) == (503, "overloaded")

    for listener in (proxy.running.gateway, proxy.running.console):
        assert httpx.get(f"http://{listener}/health", trust_env=False, timeout=60).status_code == 200
        assert httpx.get(f"http://{listener}/ready", trust_env=False, timeout=60).status_code == 200

    set_lag(proxy, 0)
    wait_for(lambda: stage(proxy) == "0.0", "the end of all stages")
    assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
    assert len(proxy.finished_events(6)) == 6
    refusals = [event for event in proxy.events() if (event["policy_reason"] or "").startswith("overloaded: ")]
    assert [(event["status"], event["outcome"]) for event in refusals] == [(503, "denied")] * 4
