"""Talks to a model over Bedrock's two-way operation, event by event, in a tunnel or at the gateway."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote
from uuid import uuid4

from tests.support.aws_signing import HOST, signed
from tests.support.event_stream import chunk_signature, date, frame, signature_of
from tests.support.http2_client import Http2Client
from tests.support.raw_client import RawClient
from tests.support.running import Wirekey, wait_for
from tests.support.signed_requests import header
from wirekey.core.metering.eventstream import read_headers
from wirekey.core.signing.event_signatures import EVENTS_PAYLOAD

MODEL = "amazon.nova-sonic-v1:0"
EVENT_STREAM = "application/vnd.amazon.eventstream"
PATH = f"/model/{quote(MODEL, safe='')}/invoke-with-bidirectional-stream"
INNER = (
    b"\x0b:event-type\x07\x00\x05chunk\x0d:content-type\x07\x00\x10application/json\x0d:message-type\x07\x00\x05event"
)
CONTENT = {"promptName": "p", "contentName": "c"}
PREPARATION = ({"sessionStart": {}}, {"promptStart": {"promptName": "p"}})
ENDING = ({"promptEnd": {"promptName": "p"}}, {"sessionEnd": {}})


def asking(text: str, role: str = "USER") -> list[dict]:
    """The events of one content."""
    return [
        {"contentStart": {**CONTENT, "role": role, "type": "TEXT"}},
        {"textInput": {**CONTENT, "content": text}},
        {"contentEnd": CONTENT},
    ]


def payload_of(event: dict) -> bytes:
    """An event as a frame of its own, without a signature."""
    value = base64.b64encode(json.dumps({"event": event}).encode()).decode()
    return frame(INNER, json.dumps({"bytes": value}).encode())


def frames_of(data: bytes) -> list[tuple[dict, bytes]]:
    """The whole frames at the beginning of a response: their headers and payloads."""
    found = []
    while len(data) >= 12 and len(data) >= (total := int.from_bytes(data[:4])):
        end = 12 + int.from_bytes(data[4:8])
        found.append((read_headers(data[12:end]), data[end : total - 4]))
        data = data[total:]
    return found


def recorded(proxy: Wirekey, turns: int = 1, since: str | None = None) -> tuple[dict, list[dict]]:
    """The events of the only stream since then, and of its turns, once it has ended."""
    events = proxy.finished_events(1 + turns, proxy.began if since is None else since)
    (stream,) = [event for event in events if event["parent_id"] is None]
    found = [event for event in events if event["parent_id"]]
    assert [event["parent_id"] for event in found] == [stream["id"]] * turns
    assert {event["operation"] for event in found} <= {"realtime.response"}
    return stream, found


def stream_event(proxy: Wirekey) -> dict:
    """The event of the only stream since `proxy.began`, once it has ended, whatever its turns."""

    def ended():
        events = [event for event in proxy.events() if event["id"] > proxy.began[:13] and not event["parent_id"]]
        return events if events and all(event["outcome"] for event in events) else None

    (event,) = wait_for(ended, "the end of the stream")
    return event


class TwoWayClient:
    """One conversation of the agent alice. `pair`: another key pair. `token`: her token, for the tunnel.

    `port`: of a provider at localhost, for a proxy that has no other name for it. `seed` is the last signature. `sign`
    signs the next event; `send` sends what a test makes of that.
    """

    def __init__(
        self, proxy: Wirekey, *, gateway: bool = False, pair=None, token: str = "", port: int = 443, **head
    ) -> None:
        self.secret = pair[1] if pair else proxy.pair.secret.reveal()
        self.raw = RawClient(proxy.running.gateway if gateway else proxy.running.forward)
        name = HOST if port == 443 and not gateway else "localhost"
        if not gateway:
            assert self.raw.connect(f"{name}:{port}", "alice", token).status == 200
        self.raw.start_tls(proxy.root, name, ("h2",))
        port = int(proxy.running.gateway.rpartition(":")[2]) if gateway else port
        self.host = name if port == 443 else f"{name}:{port}"
        self.http = Http2Client(self.raw, self.host)
        names = {
            "content-type": EVENT_STREAM,
            "x-amz-content-sha256": EVENTS_PAYLOAD,
            "amz-sdk-invocation-id": str(uuid4()),
            "amz-sdk-request": "attempt=1",
            **head.pop("headers", {}),
        }
        head.setdefault("path", PATH)
        self.head = signed(proxy, body=None, headers=names, pair=pair, host=self.host, **head)
        self.seed = header(self.head, "authorization").rpartition("Signature=")[2]

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.socket.close()

    def begin(self, *more: tuple[str, str], without: tuple[str, ...] = ()) -> None:
        """Send the head."""
        fields = [(name.decode().lower(), value.decode()) for name, value in self.head.headers]
        left = [(name, value) for name, value in fields if name not in ("host", "content-length", *without)]
        self.stream = self.http.state.get_next_available_stream_id()
        target = [(":method", "POST"), (":scheme", "https"), (":authority", self.host)]
        self.http.state.send_headers(self.stream, [*target, (":path", self.head.target.decode()), *left, *more])
        self.http.flush()

    def sign(self, payload: bytes, at: float | None = None) -> bytes:
        """Sign an event after the last one that was signed."""
        at = time.time() if at is None else at
        signature = signature_of(self.seed, at, payload, self.secret)
        self.seed = signature.hex()
        return frame(date(at) + chunk_signature(signature), payload)

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Send bytes of the request, as far as the window allows at once."""
        self.http.state.send_data(self.stream, data, end_stream=end)
        self.http.flush()

    def tell(self, *events: dict) -> None:
        """Send events, signed."""
        for event in events:
            self.send(self.sign(payload_of(event)))

    def end(self) -> None:
        """Send the empty event, and end the request."""
        self.send(self.sign(b""), end=True)

    @property
    def body(self) -> bytes:
        return bytes(self.http.bodies.get(self.stream, b""))

    @property
    def status(self) -> int:
        return self.http.statuses[self.stream]

    @property
    def frames(self) -> list[tuple[dict, bytes]]:
        return frames_of(self.body)

    @property
    def heard(self) -> list[tuple[str, dict]]:
        """The model's events so far."""
        payloads = [payload for headers, payload in self.frames if headers[":message-type"] == "event"]
        events = [json.loads(base64.b64decode(json.loads(payload)["bytes"]))["event"] for payload in payloads]
        return [next(iter(event.items())) for event in events]

    def until_heard(self, name: str, count: int = 1) -> None:
        """Read until the model has sent so many events of this name."""
        self.http.until(lambda: [heard for heard, _ in self.heard].count(name) >= count)

    def until_ended(self) -> None:
        """Read until the response has ended."""
        self.http.until(lambda: self.stream in self.http.ended)

    @property
    def exception(self) -> tuple[str, str]:
        """Type and message of the exception that ended the response."""
        headers, payload = self.frames[-1]
        assert headers[":message-type"] == "exception"
        return headers[":exception-type"], json.loads(payload)["message"]
