"""HTTP/2 with careful and with rude clients, frame by frame."""

import json
import socket

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes, Settings

from tests.support.running import PROVIDER_KEYS, SimulatorThread, wait_for

STREAM = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}


@pytest.fixture(scope="module")
def cleartext(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("cleartext"), tls=False)
    yield running
    running.stop()


class Client:
    """One connection with prior knowledge, for tests that send and read frame by frame."""

    def __init__(self, simulator, window: int | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", simulator.simulator.port), timeout=60)
        self.state = H2Connection(H2Configuration(header_encoding="utf-8"))
        if window is not None:
            values = {SettingCodes.INITIAL_WINDOW_SIZE: window}
            self.state.local_settings = Settings(client=True, initial_values=values)
        self.state.initiate_connection()
        self.events = []
        self.flush()

    def flush(self):
        self.socket.sendall(self.state.data_to_send())

    def ask(self, behaviour: str = "", end: bool = True) -> int:
        stream = self.state.get_next_available_stream_id()
        body = json.dumps(STREAM).encode()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", "/v1/chat/completions"),
            ("authorization", f"Bearer {PROVIDER_KEYS['openai']}"),
            ("x-simulator", behaviour),
        ]
        self.state.send_headers(stream, headers)
        self.state.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def read_until(self, kind, stream: int):
        """Return the first event of this kind on this stream. Earlier events stay in `events`."""
        while True:
            found = [event for event in self.events if isinstance(event, kind) and event.stream_id == stream]
            if found:
                return found[0]
            data = self.socket.recv(65536)
            assert data, "the connection was closed"
            self.events += self.state.receive_data(data)
            self.flush()

    def text(self, stream: int) -> bytes:
        return b"".join(e.data for e in self.events if isinstance(e, DataReceived) and e.stream_id == stream)


@pytest.fixture
def client(cleartext):
    client = Client(cleartext)
    yield client
    client.socket.close()


def test_a_stream_that_the_client_resets_ends_alone(client, cleartext):
    held = client.ask("stall-after=2")
    client.read_until(DataReceived, held)
    client.state.reset_stream(held)
    client.flush()
    other = client.ask()
    client.read_until(StreamEnded, other)
    assert client.text(other).endswith(b"[DONE]\n\n")
    gone = client.ask("events=100, pace=0.05")
    client.read_until(DataReceived, gone)
    client.state.reset_stream(gone)
    client.flush()
    assert wait_for(lambda: cleartext.seen[-1].outcome, "the outcome") == "client_gone"


def test_a_fault_resets_its_stream_alone(client):
    whole, broken = client.ask("events=50, pace=0.001"), client.ask("reset-after=2")
    client.read_until(StreamReset, broken)
    client.read_until(StreamEnded, whole)
    assert client.text(broken).count(b"data:") == 2
    assert client.text(whole).endswith(b"[DONE]\n\n")


def test_no_more_is_sent_than_the_client_has_room_for(cleartext):
    client = Client(cleartext, window=10)
    stream = client.ask("events=3")
    client.read_until(ResponseReceived, stream)
    while len(client.text(stream)) < 10:
        client.events += client.state.receive_data(client.socket.recv(65536))
        client.flush()
    assert len(client.text(stream)) == 10
    assert cleartext.seen[-1].events == 1
    client.state.increment_flow_control_window(1 << 20, stream)
    client.flush()
    client.read_until(StreamEnded, stream)
    assert client.text(stream).endswith(b"[DONE]\n\n")
    client.socket.close()


def test_malformed_data_after_the_preface_closes_the_connection(cleartext):
    client = Client(cleartext)
    data_of_no_stream = b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x"
    client.socket.sendall(data_of_no_stream)
    while client.socket.recv(65536):
        pass
    assert cleartext.simulator.malformed
    again = Client(cleartext)
    again.read_until(StreamEnded, again.ask())
    again.socket.close()


def test_an_incomplete_request_of_a_disconnected_client_is_not_recorded(cleartext):
    before = len(cleartext.seen)
    client = Client(cleartext)
    client.ask(end=False)
    client.socket.close()
    wait_for(lambda: not cleartext.simulator._connections, "the connection to be forgotten")
    assert len(cleartext.seen) == before
