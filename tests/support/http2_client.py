"""An HTTP/2 client for attacks that no client library makes: windows that stay closed, streams reset at once."""

from __future__ import annotations

import contextlib
import ssl

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from tests.support.raw_client import CHAT, RawClient


class Http2Client:
    """Uses an open tunnel. `window`: bytes of each stream's window, which only `open_window` enlarges."""

    def __init__(self, tunnel: RawClient, host: str = "api.openai.com", window: int = 65535) -> None:
        self.tunnel, self.host = tunnel, host
        self.state = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.state.initiate_connection()
        self.state.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.state.increment_flow_control_window(1 << 30)
        self.bodies: dict[int, bytearray] = {}
        self.statuses: dict[int, int] = {}
        self.ended: set[int] = set()
        self.goaway: int | None = None
        """The error code of a GOAWAY."""
        self.last_stream: int | None = None
        """The last stream that it names."""
        self.closed = False
        self.flush()

    def flush(self) -> None:
        """Send what the protocol state has prepared."""
        if data := self.state.data_to_send():
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                self.tunnel.send(data)

    def open(self, *headers: tuple[str, str], body: bytes | None = CHAT, path: str = "/v1/chat/completions") -> int:
        """Prepare a request. Returns its stream id. A request with the body None is never finished."""
        stream = self.state.get_next_available_stream_id()
        self.state.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", self.host),
                (":path", path),
                ("content-type", "application/json"),
                *headers,
            ],
        )
        if body is not None:
            self.state.send_data(stream, body, end_stream=True)
        return stream

    def reset(self, stream: int) -> None:
        """Prepare the reset of a stream."""
        self.state.reset_stream(stream)

    def open_window(self, stream: int, size: int) -> None:
        """Enlarge the window of a stream by `size` bytes."""
        self.state.increment_flow_control_window(size, stream)
        self.flush()

    def receive(self) -> bool:
        """Read once. Returns False if the connection has ended."""
        data = b"" if self.closed else self.tunnel.receive_bytes()
        if not data:
            self.closed = True
            return False
        for event in self.state.receive_data(data):
            if isinstance(event, ResponseReceived):
                self.statuses[event.stream_id] = int(dict(event.headers)[":status"])
            elif isinstance(event, DataReceived):
                self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
            elif isinstance(event, (StreamEnded, StreamReset)):
                self.ended.add(event.stream_id)
            elif isinstance(event, ConnectionTerminated):
                self.goaway, self.last_stream = event.error_code, event.last_stream_id
        self.flush()
        return True

    def until(self, condition) -> None:
        """Read until a condition holds. Raises AssertionError if the connection ends before."""
        while not condition():
            assert self.receive(), "the connection ended"
