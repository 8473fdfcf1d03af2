"""HTTP/2 in a tunnel of alice, frame by frame: fields that no library sends, and frames out of order."""

from __future__ import annotations

import contextlib
import struct

from hpack import Decoder, HPACKError

from tests.redteam.ground import OPENAI, OWN_KEY, Ground
from tests.redteam.technique import Technique
from tests.support.raw_client import CHAT

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
type Fields = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def text(value: bytes) -> bytes:
    """Return a string of HPACK, as it is."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, encoded = len(value) - 127, bytearray([127])
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    return bytes([*encoded, rest]) + value


def block(fields: Fields) -> bytes:
    """Return fields in HPACK, without its table, so that invalid ones can be written."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
CHAT_FIELDS = [
    (b":method", b"POST"), (b":scheme", b"https"), (b":authority", OPENAI.encode()),
    (b":path", b"/v1/chat/completions"), (b"content-type", b"application/json"),
]  # fmt: skip


def request(fields: Fields, stream: int = 1, body: bytes = CHAT) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, block(fields)) + frame(DATA, END_STREAM, stream, body)


def said(data: bytes) -> str:
    """Return what frames say: statuses and errors first, then the headers and the data."""
    decoder, statuses, rest = Decoder(), [], []
    while len(data) >= 9:
        length, kind = int.from_bytes(data[:3]), data[3]
        payload, data = data[9 : 9 + length], data[9 + length :]
        if kind == HEADERS:
            with contextlib.suppress(HPACKError):
                headers = decoder.decode(payload)
                statuses += [value for name, value in headers if name == ":status"]
                rest.append(repr(headers))
        elif kind == RST:
            statuses.append(f"RST_STREAM {int.from_bytes(payload)}")
        elif kind == GOAWAY:
            statuses.append(f"GOAWAY {int.from_bytes(payload[4:8])}")
        elif kind == DATA:
            rest.append(payload.decode("latin-1"))
    return "\r\n".join([", ".join(dict.fromkeys(statuses)) or "closed without a response", *rest])


def in_http2(ground: Ground, frames: bytes) -> str:
    return said(ground.in_tunnel(PREFACE + frames, alpn=("h2",)).encode("latin-1"))


def sent(tried: str, frames: bytes, *, may_arrive: bool = True) -> Technique:
    return Technique("HTTP/2", tried, lambda ground: in_http2(ground, frames), may_arrive)


def without(name: bytes) -> Fields:
    return [field for field in CHAT_FIELDS if field[0] != name]


def with_(name: bytes, *values: bytes) -> Fields:
    """Return the fields of a chat with other values of one of them, in its place."""
    at = next(number for number, field in enumerate(CHAT_FIELDS) if field[0] == name)
    return [*CHAT_FIELDS[:at], *((name, value) for value in values), *CHAT_FIELDS[at + 1 :]]


KEY = OWN_KEY.encode()
PSEUDO: dict[bytes, tuple[tuple[bytes, ...], ...]] = {
    b":authority": (
        (), (b"api.openai.com", b"api.openai.com"), (b"api.openai.com", b"evil.example"),
        (b"evil.example", b"api.openai.com"), (b"evil.example",), (b"user@api.openai.com",), (b"api.openai.com:444",),
        (b"API.OPENAI.COM",), (b"api.openai.com.",), (b"",), (b"api.anthropic.com",), (b"api.openai.com\0",),
    ),
    b":path": (
        (), (b"",), (b"v1/chat/completions",), (b"https://evil.example/v1/x",), (b"/v1/chat/completions HTTP/1.1",),
        (b"/v1/chat\r\nX: y",), (b"/v1/chat/completions#x",), (b"*",), (b"/v1/chat/completions", b"/v1/files"),
        (b"/v1/../v1/files",), (b"//evil.example/x",), (b"/v1/chat/completions?key=" + KEY,), (b"/\xff",),
    ),
    b":scheme": ((), (b"http",), (b"file",), (b"https", b"http"), (b"HTTPS",), (b"https\r\nx: y",)),
    b":method": (
        (), (b"GET", b"POST"), (b"POST /x HTTP/1.1\r\nX: y",), (b"post",), (b"TRACE",), (b"CONNECT",), (b"PRI",),
        (b"",),
    ),
}  # fmt: skip
ADDED: tuple[Fields, ...] = (
    [(b"host", b"evil.example")], [(b"host", b"api.openai.com"), (b"host", b"evil.example")], [(b":evil", b"x")],
    [(b"x", b"y"), (b":path", b"/v1/files")], [(b":status", b"200")], [(b":protocol", b"websocket")],
    [(b"Authorization", b"Bearer " + KEY)], [(b"x\r\ny", b"z")], [(b"x", b"y\r\nauthorization: " + KEY)],
    [(b"x", b"y\nz")], [(b"x", b"\0")], [(b"x:y", b"z")], [(b"x y", b"z")], [(b"", b"z")], [(b"x", b" y ")],
    [(b"connection", b"authorization")], [(b"transfer-encoding", b"chunked")], [(b"keep-alive", b"1")],
    [(b"upgrade", b"websocket")], [(b"proxy-connection", b"keep-alive")], [(b"te", b"gzip")],
    [(b"http2-settings", b"AAMAAABkAAQAAP__")], [(b"content-length", b"1")], [(b"content-length", b"999")],
    [(b"content-length", b"70"), (b"content-length", b"71")], [(b"content-length", b"-1")],
    [(b"content-length", b"+70")], [(b"authorization", b"Bearer " + KEY)], [(b"authentication", b"Bearer " + KEY)],
    [(b"cookie", b"a=" + KEY[:9]), (b"cookie", KEY[9:])], [(b"proxy-authorization", b"Bearer " + KEY)],
    [(b"x_api_key", KEY)], [(b"sec-websocket-protocol", KEY)], [(b"x", b"y" * 70_000)],
    [(b"x-%d" % number, b"y") for number in range(200)], [(b"forwarded", b"host=evil.example")],
)  # fmt: skip
HPACK_BOMB = b"\x40" + text(b"x") + text(b"y" * 4000) + b"\xbe" * 16_000
HEAD = block(CHAT_FIELDS)
OPENED = frame(HEADERS, END_HEADERS, 1, HEAD)
FRAMES = (
    ("a flood of CONTINUATION", frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, 0, 1) * 5000),
    ("CONTINUATION without HEADERS", frame(CONTINUATION, END_HEADERS, 1, HEAD)),
    ("DATA within HEADERS", frame(HEADERS, 0, 1, HEAD) + frame(DATA, END_STREAM, 1, CHAT)),
    ("PING within HEADERS", frame(HEADERS, 0, 1, HEAD) + frame(PING, 0, 0, b"x" * 8)),
    ("CONTINUATION of another stream", frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, END_HEADERS, 3, HEAD)),
    ("DATA on stream 0", frame(DATA, 0, 0, CHAT)),
    ("DATA on a stream that is not open", frame(DATA, END_STREAM, 7, CHAT)),
    ("HEADERS on an even stream", request(CHAT_FIELDS, 2)),
    ("a stream below the last one", request(CHAT_FIELDS, 5) + request(CHAT_FIELDS, 3)),
    ("HEADERS behind the end of a stream", request(CHAT_FIELDS) + frame(HEADERS, END_HEADERS, 1, HEAD)),
    ("a key in trailers", OPENED + frame(DATA, 0, 1, CHAT)
     + frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(b"authorization", b"Bearer " + KEY)]))),
    ("a pseudo-header in trailers", OPENED + frame(DATA, 0, 1, CHAT)
     + frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(b":path", b"/v1/files")]))),
    ("rapid reset", b"".join(request(CHAT_FIELDS, n) + frame(RST, 0, n, bytes(4)) for n in range(1, 1000, 2))),
    ("reset of a stream that is not open", frame(RST, 0, 9, bytes(4))),
    ("a window of 0", frame(WINDOW, 0, 0, bytes(4))),
    ("a window that overflows", frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2),
    ("a flood of SETTINGS", frame(SETTINGS, 0, 0) * 2000),
    ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, b"abcde")),
    ("SETTINGS of a stream", frame(SETTINGS, 0, 1)),
    ("an initial window that is too large", frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff")),
    ("a frame size that is too small", frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1")),
    ("push allowed twice", frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2")),
    ("SETTINGS acknowledged with a value", frame(SETTINGS, ACK, 0, b"\0\2\0\0\0\0")),
    ("a push of the client", frame(PUSH, END_HEADERS, 1, bytes(4) + HEAD)),
    ("a stream that depends on itself", frame(PRIORITY, 0, 1, b"\0\0\0\1\x10")),
    ("a flood of PRIORITY", frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 2000),
    ("a flood of PING", frame(PING, 0, 0, b"x" * 8) * 2000),
    ("PING of seven bytes", frame(PING, 0, 0, b"x" * 7)),
    ("PING on a stream", frame(PING, 0, 1, b"x" * 8)),
    ("GOAWAY, then a request", frame(GOAWAY, 0, 0, bytes(8) + KEY) + request(CHAT_FIELDS)),
    ("a flood of unknown frames", frame(0xFA, 0, 0, b"x") * 2000),
    ("a frame above the limit", frame(DATA, 0, 1, b"x" * 200_000)),
    ("more padding than data", OPENED + frame(DATA, PADDED | END_STREAM, 1, b"\xff" + CHAT)),
    ("only padding", OPENED + frame(DATA, PADDED, 1, b"\x20" + bytes(32)) * 2000),
    ("a flood of empty DATA", OPENED + frame(DATA, 0, 1) * 5000),
    ("a table bomb", frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD + HPACK_BOMB)),
    ("a table above the limit", frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\xff\x0f" + HEAD)),
    ("an index that is not in the table", frame(HEADERS, END_HEADERS, 1, b"\xff\xff\x03")),
    ("an invalid Huffman code", frame(HEADERS, END_HEADERS, 1, b"\0\x84\xff\xff\xff\xff\1x")),
    ("HEADERS without fields", frame(HEADERS, END_HEADERS | END_STREAM, 1)),
    ("HTTP/1.1 behind the preface", b"POST /v1/files HTTP/1.1\r\nHost: api.openai.com\r\n\r\n"),
    ("300 streams that never end", b"".join(frame(HEADERS, END_HEADERS, n, HEAD) for n in range(1, 600, 2))),
)  # fmt: skip
TECHNIQUES = [
    *(sent(f"{name.decode()} is {each!r}", request(with_(name, *each))) for name in PSEUDO for each in PSEUDO[name]),
    *(sent(f"a chat with {repr(fields)[:90]}", request(CHAT_FIELDS + fields)) for fields in ADDED),
    sent(":path behind the headers", request([*without(b":path"), (b":path", b"/v1/chat/completions")])),
    sent("host in place of :authority", request([*without(b":authority"), (b"host", b"evil.example")])),
    *(sent(tried, frames) for tried, frames in FRAMES),
    Technique("HTTP/2", "HTTP/2 where HTTP/1.1 was agreed", lambda ground: ground.in_tunnel(PREFACE + OPENED)),
    Technique("HTTP/2", "HTTP/1.1 where HTTP/2 was agreed", lambda ground: said(ground.in_tunnel(
        b"GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", alpn=("h2",)).encode("latin-1"))),
]  # fmt: skip
