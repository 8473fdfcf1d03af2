"""An agent that is revoked at one of three replicas is refused at all of them, on each kind of connection.

One round by default; WIREKEY_REVOCATION_ROUNDS sets another number. Then the bound of two seconds is checked, too, on a
machine that does nothing else.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
import time

import httpx
import pytest

from tests.support.load import chat, tunnel
from tests.support.raw_client import RawClient, post
from tests.support.running import KEY_ENVIRONMENT, PATIENCE, SimulatorThread, Wirekey, behind
from tests.support.steady_load import gateway_chat

ROUNDS = int(os.environ.get("WIREKEY_REVOCATION_ROUNDS", "1"))
BOUND = 2.0
"""Seconds, as promised."""
LISTENERS = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
PACED = "X-Simulator: events=1000,pace=0.02"
PAUSE = 0.01
"""Seconds between calls of one client."""


class Client(threading.Thread):
    """Calls in one way until it is refused. `accepted`: when the last accepted call was sent, or data arrived last."""

    def __init__(self, kind: str, proxy: Wirekey, agent: str, token: str) -> None:
        super().__init__(daemon=True)
        self.kind, self.proxy, self.agent, self.token = kind, proxy, agent, token
        self.accepted = 0.0
        self.first = threading.Event()
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, AssertionError, httpx.HTTPError):
            WAYS[self.kind](self)

    def note(self, status: int, sent: float) -> bool:
        """Note the status of a call, and return whether it was accepted."""
        if status == 200:
            self.accepted = sent
            self.first.set()
            time.sleep(PAUSE)
        return status == 200

    def fresh(self) -> None:
        going = True
        while going:
            sent = time.monotonic()
            with RawClient(self.proxy.running.gateway) as client:
                client.send(gateway_chat(self.token, "fresh"))
                going = self.note(client.read_response().status, sent)

    def kept(self) -> None:
        with RawClient(self.proxy.running.gateway) as client:
            self.call_on(client, gateway_chat(self.token, "kept"))

    def in_tunnel(self) -> None:
        with tunnel(self.proxy, self.token, agent=self.agent) as client:
            self.call_on(client, chat("tunnel"))

    def call_on(self, client: RawClient, request: bytes) -> None:
        sent = time.monotonic()
        client.send(request)
        while self.note(client.read_response().status, sent):
            sent = time.monotonic()
            client.send(request)

    def http2(self) -> None:
        url, context = self.proxy.proxy_url(self.agent, self.token), ssl.create_default_context(cafile=self.proxy.root)
        body = {"model": "http2", "messages": [{"role": "user", "content": "Hello?"}]}
        with httpx.Client(proxy=url, verify=context, http2=True, timeout=PATIENCE, trust_env=False) as client:
            going = True
            while going:
                sent = time.monotonic()
                response = client.post("https://api.openai.com/v1/chat/completions", json=body)
                going = self.note(response.status_code, sent)

    def stream(self) -> None:
        body = b'{"model":"stream","messages":[{"role":"user","content":"Hello?"}],"stream":true}'
        with RawClient(self.proxy.running.gateway) as client:
            client.send(post(f"Authorization: Bearer {self.token}", PACED, host="localhost", body=body))
            while (data := client.receive_bytes()) and b"agent_revoked" not in data:
                self.accepted = time.monotonic()
                self.first.set()


WAYS = {
    "a new connection each": Client.fresh,
    "a kept connection": Client.kept,
    "a tunnel": Client.in_tunnel,
    "HTTP/2": Client.http2,
    "a stream": Client.stream,
}


@pytest.fixture
def replicas(tmp_path, redis_server):
    simulator = SimulatorThread(tmp_path / "simulator", protocols=("h2", "http/1.1"))
    settings = behind(simulator, listen=LISTENERS, shared_state=redis_server.url)
    found = [Wirekey(tmp_path / str(number), settings, environ=KEY_ENVIRONMENT) for number in range(3)]
    yield found
    for replica in found:
        replica.stop()
    simulator.stop()


def test_no_connection_of_a_revoked_agent_is_accepted_at_any_replica(replicas, record_property):
    longest, late = 0.0, []
    for number in range(ROUNDS):
        agent = f"leaver{number}"
        tokens = [replica.add_agent(agent) for replica in replicas]
        clients = [
            Client(kind, replica, agent, token)
            for replica, token in zip(replicas, tokens, strict=True)
            for kind in WAYS
        ]
        for client in clients:
            assert client.first.wait(PATIENCE), f"{client.kind}: no call was accepted"
        began = time.monotonic()
        replicas[number % 3].agents.revoke(agent)
        for client in clients:
            client.join(PATIENCE)
            assert not client.is_alive(), f"{client.kind}: calls of a revoked agent are still accepted"
            took = client.accepted - began
            longest = max(longest, took)
            late += [(client.kind, took)] if took > BOUND else []
    record_property("revocations", ROUNDS)
    record_property("connections", ROUNDS * len(replicas) * len(WAYS))
    record_property("milliseconds to the last accepted call", round(longest * 1000))
    assert ROUNDS == 1 or not late
