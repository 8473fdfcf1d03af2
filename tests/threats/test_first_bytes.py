"""THREATS 2.2, D9: the first bytes of a connection arrive alone. Wirekey waits for more before it chooses a protocol.

mitmproxy's own addon must not choose meanwhile: it takes a single byte for raw TCP, or for HTTP that nothing checks.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.raw_client import RawClient, post
from tests.support.running import wirekey_behind
from tests.threats.conftest import OPENAI, beginning

if TYPE_CHECKING:
    from collections.abc import Callable

ALONE = 0.05
"""Seconds after the first bytes, so that Wirekey reads them before the others."""

FIRST_PIECES = [1, 2, 3, 5]
"""Bytes of a connection that arrive alone, before the others."""


class SplitStart:
    """TLS over a RawClient. Its first bytes arrive alone: as many as `first` says."""

    def __init__(self, client: RawClient, root, host: str, first: int) -> None:
        self.client, self.first = client, first
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=root)
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.run(self.tls.do_handshake)

    def run[T](self, step: Callable[[], T]) -> T:
        """Run a step of the TLS connection, and exchange bytes until it is done. Raises SSLError if the peer closes."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.flush()
                if data := self.client.receive_bytes():
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def flush(self) -> None:
        data = self.outgoing.read()
        send_start_alone(self.client, data, self.first)
        self.first = 0

    def ask(self, request: bytes) -> bytes:
        """Send a request, and return the first bytes of the response."""
        self.tls.write(request)
        self.flush()
        return self.run(lambda: self.tls.read(65536))


def send_start_alone(client: RawClient, data: bytes, first: int) -> None:
    if first:
        client.send(data[:first])
        time.sleep(ALONE)
    client.send(data[first:])


@pytest.fixture(scope="module")
def behind_gateway(tmp_path_factory, running_stage):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    with wirekey_behind(tmp_path_factory.mktemp("gateway"), running_stage.simulator, listen=listen) as proxy:
        yield replace(running_stage, proxy=proxy, alice=proxy.add_agent("alice"))


@pytest.mark.parametrize("first", FIRST_PIECES)
def test_D9_a_provider_tunnel_is_decrypted_however_its_first_bytes_arrive(first, stage):
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:443", "alice", stage.alice).status == 200
        assert b" 200 " in SplitStart(client, stage.proxy.root, OPENAI, first).ask(post())
    assert stage.event()["agent_id"] == "alice"


@pytest.mark.parametrize("first", FIRST_PIECES)
def test_D9_a_tunnel_without_tls_is_closed_however_its_first_bytes_arrive(first, stage):
    with stage.client() as client:
        assert client.connect(f"{OPENAI}:443", "alice", stage.alice).status == 200
        send_start_alone(client, post(), first)
        assert client.wait_closed()
    assert stage.nothing_arrived()


@pytest.mark.parametrize("first", FIRST_PIECES)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_D9_the_gateway_checks_a_request_however_its_first_bytes_arrive(first, tls, behind_gateway):
    proxy, began = behind_gateway.proxy, beginning()
    host = proxy.running.gateway
    request = post(f"Authorization: Bearer {behind_gateway.alice}", host=host)
    with RawClient(host) as client:
        if tls:
            assert b" 200 " in SplitStart(client, proxy.root, host.partition(":")[0], first).ask(request)
        else:
            send_start_alone(client, request, first)
            assert client.read_response().status == 200
    assert proxy.finished_event(began)["agent_id"] == "alice"


@pytest.mark.parametrize("first", FIRST_PIECES)
def test_D9_a_proxy_over_tls_serves_a_client_however_its_first_bytes_arrive(first, stage):
    with stage.client() as client:
        tls = SplitStart(client, stage.proxy.root, "localhost", first)
        assert b" 200 " in tls.ask(f"CONNECT {OPENAI}:443 HTTP/1.1\r\nHost: {OPENAI}:443\r\n\r\n".encode())
    assert stage.nothing_arrived()
