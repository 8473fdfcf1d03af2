"""WebSockets in a tunnel of alice: openings that are none, and frames that no library sends."""

from __future__ import annotations

import json
import struct
import zlib

from tests.redteam.ground import OPENAI, OWN_KEY, Ground, received
from tests.redteam.technique import Technique

MODEL = "/v1/realtime?model=gpt-realtime"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
NEEDED = ("Upgrade: websocket", "Connection: Upgrade", KEY, "Sec-WebSocket-Version: 13")
DEFLATE = (*NEEDED, "Sec-WebSocket-Extensions: permessage-deflate")
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
FIN, RSV1 = 0x80, 0x40


def opening(*lines: str, path: str = MODEL, method: str = "GET", version: str = "1.1", host: str = OPENAI) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", f"Host: {host}", *lines, "", ""]).encode("latin-1")


def frame(payload: bytes, first: int = FIN | TEXT, *, length: bytes = b"", mask: bytes | None = b"\1\2\3\4") -> bytes:
    """Return a frame. `length`: the bytes of its length, if they are not those that a library writes."""
    size = len(payload)
    if not length:
        length = (
            bytes([size])
            if size < 126
            else struct.pack("!BH", 126, size)
            if size < 65536
            else struct.pack("!BQ", 127, size)
        )
    if mask is None:
        return bytes([first]) + length + payload
    repeated = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(size)
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + masked


def event(kind: str, **members: object) -> bytes:
    return json.dumps({"type": kind, **members}).encode()


def asked(tried: str, data: bytes, *, may_arrive: bool = True) -> Technique:
    return Technique("WebSocket", tried, lambda ground: ground.in_tunnel(data), may_arrive)


def framed(tried: str, frames: bytes, lines: tuple[str, ...] = NEEDED) -> Technique:
    def attack(ground: Ground) -> str:
        with ground.client() as client:
            client.connect(f"{OPENAI}:443", "alice", ground.token)
            client.start_tls(ground.proxy.root, OPENAI)
            client.send(opening(*lines))
            response = client.read_response(body=False)
            last = received(client, frames)
        return f"{response.status}, then {last[-60:]!r}\r\n{response.headers}{last}"

    return Technique("WebSocket", tried, attack, True)


OPENINGS = (
    (
        "a key as a subprotocol",
        opening(*NEEDED, f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{OWN_KEY}"),
    ),
    (
        "a key as a subprotocol, in capitals",
        opening(*NEEDED, f"Sec-WebSocket-Protocol: realtime, OpenAI-Insecure-API-Key.{OWN_KEY}"),
    ),
    (
        "a key in a second line of subprotocols",
        opening(
            *NEEDED, "Sec-WebSocket-Protocol: realtime", f"Sec-WebSocket-Protocol: openai-insecure-api-key.{OWN_KEY}"
        ),
    ),
    ("a key in the query", opening(*NEEDED, path=f"{MODEL}&api_key={OWN_KEY}")),
    ("a key in Authorization", opening(*NEEDED, f"Authorization: Bearer {OWN_KEY}")),
    ("no key of the opening", opening(*NEEDED[:2], NEEDED[3])),
    ("a short key of the opening", opening(*NEEDED[:2], "Sec-WebSocket-Key: x", NEEDED[3])),
    ("two keys of the opening", opening(*NEEDED, KEY)),
    ("version 8", opening(*NEEDED[:3], "Sec-WebSocket-Version: 8")),
    ("two versions", opening(*NEEDED, "Sec-WebSocket-Version: 13")),
    ("two upgrades in a line", opening("Upgrade: websocket, h2c", *NEEDED[1:])),
    ("two lines of upgrades", opening(*NEEDED, "Upgrade: h2c")),
    ("Connection without Upgrade", opening(NEEDED[0], "Connection: close", *NEEDED[2:])),
    ("Connection that names the credential", opening(NEEDED[0], "Connection: Upgrade, Authorization", *NEEDED[2:])),
    ("a body", opening(*NEEDED, "Content-Length: 5") + b"hello"),
    ("a chunked body", opening(*NEEDED, "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    ("POST", opening(*NEEDED, "Content-Length: 0", method="POST")),
    ("HTTP/1.0", opening(*NEEDED, version="1.0")),
    ("a path without WebSockets", opening(*NEEDED, path="/v1/chat/completions")),
    ("no model", opening(*NEEDED, path="/v1/realtime")),
    ("two models", opening(*NEEDED, path=f"{MODEL}&model=gpt-5")),
    ("another host", opening(*NEEDED, host="evil.example")),
    ("a request of HTTP behind the opening", opening(*NEEDED) + opening(path="/v1/models")),
    (
        "a request of HTTP behind a refused opening",
        opening(*NEEDED, path="/v1/chat/completions") + opening(path="/v1/models"),
    ),
    ("frames before the response", opening(*NEEDED) + frame(event("response.create"))),
    ("an unknown extension", opening(*NEEDED, "Sec-WebSocket-Extensions: x-evil; a=b")),
    (
        "an extension with an odd parameter",
        opening(*NEEDED, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99"),
    ),
    ("control characters in a subprotocol", opening(*NEEDED, "Sec-WebSocket-Protocol: a\x01b")),
)
CREATE = event("response.create")
BOMB = zlib.compressobj(9, zlib.DEFLATED, -15)
BOMBED = (BOMB.compress(b'{"type":"' + b"x" * 40_000_000) + BOMB.flush(zlib.Z_SYNC_FLUSH))[:-4]
FRAMES = (
    ("a continuation without a start", frame(b"x", FIN)),
    ("a new message within a message", frame(b'{"type":', TEXT) + frame(CREATE)),
    ("fragments that never end", frame(b"x", TEXT) + frame(b"x", 0) * 3000),
    ("empty fragments", frame(b"", TEXT) + frame(b"", 0) * 3000),
    ("a fragmented PING", frame(b"x", PING)),
    ("a PING of 126 bytes", frame(b"x" * 126, FIN | PING)),
    ("a reserved type of frame", frame(b"x", FIN | 3)),
    ("a reserved control frame", frame(b"x", FIN | 11)),
    ("compressed without an agreement", frame(b"x", FIN | RSV1 | TEXT)),
    ("a reserved bit", frame(b"x", FIN | 0x10 | TEXT)),
    ("an unmasked frame", frame(CREATE, mask=None)),
    ("a frame with a mask of zeros", frame(CREATE, mask=bytes(4))),
    ("a length of 2^62", frame(b"x", length=struct.pack("!BQ", 127, 1 << 62))),
    ("a negative length", frame(b"x", length=struct.pack("!BQ", 127, 1 << 63))),
    ("a length in more bytes than needed", frame(CREATE, length=struct.pack("!BQ", 127, len(CREATE)))),
    ("a message above the limit", frame(b'{"type":"' + b"x" * 20_000_000 + b'"}')),
    ("a close of one byte", frame(b"x", FIN | CLOSE)),
    ("a close with a reserved code", frame(struct.pack("!H", 1005), FIN | CLOSE)),
    ("a message behind the close", frame(struct.pack("!H", 1000), FIN | CLOSE) + frame(CREATE)),
    ("invalid UTF-8", frame(b'{"type":"\xff\xfe"}')),
    ("an event in a binary message", frame(CREATE, FIN | BINARY)),
    ("a flood of PING", frame(b"x", FIN | PING) * 3000),
    ("another model in a session", frame(event("session.update", session={"type": "realtime", "model": "gpt-5"}))),
    ("another model in a response", frame(event("response.create", response={"model": "gpt-5"}))),
    ("a type twice", frame(b'{"type":"x","type":"response.create"}')),
    ("an escaped type", frame(b'{"type":"x","\\u0074ype":"response.create"}')),
    ("a type in capitals", frame(b'{"TYPE":"response.create","type":"x"}')),
    ("no JSON", frame(b"hello")),
    ("deep nesting", frame(b'{"type":"x","a":' + b"[" * 50_000 + b"]" * 50_000 + b"}")),
    (
        "a server of tools in a session",
        frame(
            event(
                "session.update",
                session={
                    "type": "realtime",
                    "tools": [
                        {
                            "type": "mcp",
                            "server_label": "x",
                            "server_url": "http://127.0.0.1:1/",
                            "authorization": OWN_KEY,
                        }
                    ],
                },
            )
        ),
    ),
    ("a flood of events", frame(event("input_audio_buffer.append", audio="AAAA")) * 2000),
)
TECHNIQUES = [
    *(asked(f"opening: {tried}", data) for tried, data in OPENINGS),
    *(framed(tried, frames) for tried, frames in FRAMES),
    framed("a compressed bomb", frame(BOMBED, FIN | RSV1 | TEXT), DEFLATE),
    framed("compressed data that is none", frame(b"\xff" * 100, FIN | RSV1 | TEXT), DEFLATE),
    framed("a compressed bomb in fragments", frame(BOMBED[:5000], RSV1 | TEXT) + frame(BOMBED[5000:], FIN), DEFLATE),
    framed("a compressed PING", frame(b"x", FIN | RSV1 | PING), DEFLATE),
]
