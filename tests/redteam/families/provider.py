"""Responses of a provider that was taken over: redirects with credentials, smuggled responses, the key in any place."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

from tests.redteam.ground import Ground
from tests.redteam.technique import Technique
from tests.support.raw_client import post
from tests.support.running import PROVIDER_KEYS

HOST = "api.mistral.ai"
KEY = PROVIDER_KEYS["mistral"]
CHUNKED = "Transfer-Encoding: chunked"
TRAP = "http://127.0.0.1:TRAP"
BODY = b'{"model":"mistral-small-latest","messages":[{"role":"user","content":"hello"}]}'


def response(*lines: str, status: str = "200 OK", body: bytes = b"{}", length: bool = True) -> bytes:
    counted = [f"Content-Length: {len(body)}"] if length else []
    head = "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *lines, *counted])
    return head.encode("latin-1") + b"\r\n\r\n" + body


def said(family: str, tried: str, answer: bytes, known: str = "") -> Technique:
    """Have the provider say some bytes. TRAP in them is the port of the trap."""

    def attack(ground: Ground) -> str:
        encoded = base64.b64encode(answer.replace(b"TRAP", str(ground.trap.port).encode())).decode()
        return ground.in_tunnel(post(f"X-Answer: {encoded}", host=HOST, body=BODY), HOST)

    return Technique(family, tried, attack, True, known=known)


LOCATIONS = (
    f"{TRAP}/", f"https://127.0.0.1:TRAP/{KEY[:3]}", "//127.0.0.1:TRAP/", "http://169.254.169.254/latest/meta-data/",
    "/v1/files", "http://[::1]:TRAP/", "https://api.openai.com/v1/files", "file:///etc/passwd", "\\\\127.0.0.1\\x",
)  # fmt: skip
REDIRECTS = [
    *(
        said("redirect", f"{status} to {location}", response(f"Location: {location}", status=f"{status} Moved"))
        for status in (301, 307)
        for location in LOCATIONS
    ),
    *(
        said("redirect", f"{status} to the trap", response(f"Location: {TRAP}/", status=f"{status} Moved"))
        for status in (300, 302, 303, 304, 305, 308, 201, 202)
    ),
    *(
        said("redirect", f"200 with {line.partition(':')[0]}", response(line))
        for line in (
            f"Refresh: 0; url={TRAP}/", 'Alt-Svc: h2="127.0.0.1:TRAP"', f"Link: <{TRAP}/>; rel=preload",
            f"Content-Location: {TRAP}/", f"Location: {TRAP}/", f"X-Accel-Redirect: {TRAP}/", f"Retry-After: {TRAP}",
            f"Openai-Processing-Url: {TRAP}/", f"Operation-Location: {TRAP}/", f"Report-To: {TRAP}/",
        )
    ),
]  # fmt: skip
PLAIN = f'{{"error":{{"message":"Incorrect API key: {KEY}"}}}}'.encode()
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY).encode()
BASE64 = base64.b64encode(KEY.encode()).decode()
HALF = len(PLAIN) // 2 + 12
CHUNKS = b"".join(b"%x\r\n%b\r\n" % (1, PLAIN[at : at + 1]) for at in range(len(PLAIN))) + b"0\r\n\r\n"
QUOTES = (
    ("the body", response(body=PLAIN)),
    ("the body of an error", response(status="401 No", body=PLAIN)),
    ("chunks of one byte", response(CHUNKED, body=CHUNKS, length=False)),
    ("a gzip body", response("Content-Encoding: gzip", body=gzip.compress(PLAIN))),
    ("a gzip body that is not named", response(body=gzip.compress(PLAIN))),
    ("a deflate body", response("Content-Encoding: deflate", body=zlib.compress(PLAIN))),
    ("a body of two encodings", response("Content-Encoding: gzip, gzip", body=gzip.compress(gzip.compress(PLAIN)))),
    ("a body of an unknown encoding", response("Content-Encoding: rot13", body=PLAIN)),
    ("an event", response("Content-Type: text/event-stream", body=b"data: " + PLAIN + b"\n\n")),
    ("two lines of an event", response(
        "Content-Type: text/event-stream", body=b"data: %b\ndata: %b\n\n" % (PLAIN[:HALF], PLAIN[HALF:]))),
    ("the value of a header", response(f"X-Key: {KEY}")),
    ("the name of a header", response(f"X-{KEY}: y")),
    ("a cookie", response(f"Set-Cookie: key={KEY}")),
    ("Location", response(f"Location: https://{HOST}/?key={KEY}", status="302 Found")),
    ("the reason", response(status=f"200 {KEY}")),
    ("a trailer", response(CHUNKED, body=b"2\r\n{}\r\n0\r\nX-Key: %b\r\n\r\n" % KEY.encode(), length=False)),
    ("an extension of a chunk", response(CHUNKED, body=b"2;%b\r\n{}\r\n0\r\n\r\n" % KEY.encode(), length=False)),
    ("103 Early Hints", f"HTTP/1.1 103 Early Hints\r\nLink: <{KEY}>\r\n\r\n".encode() + response()),
    ("WWW-Authenticate", response(f'WWW-Authenticate: Bearer realm="{KEY}"', status="401 No")),
    ("a response that is cut off", response(body=PLAIN)[:-9]),
    ("a body behind the length", response(body=b"{}") + PLAIN),
    ("bytes that are not HTTP", KEY.encode()),
    ("a line that is not a header", f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode()),
)  # fmt: skip
ENCODED = (
    ("percent-encoded", "".join(f"%{ord(each):02x}" for each in KEY).encode()),
    ("escaped", b'{"error":"' + ESCAPED + b'"}'),
    ("in base64", base64.b64encode(PLAIN)),
    ("in base64url", base64.urlsafe_b64encode(b"Bearer " + KEY.encode())),
    ("in hexadecimal", KEY.encode().hex().encode()),
    ("in UTF-16", KEY.encode("utf-16-le")),
    ("in capitals", PLAIN.upper()),
)
ENCODES = "A provider that encodes its key"
NOT_MASKED = ("in UTF-16", "in capitals")
"""Encodings that are masked nowhere."""
FORGED = response("X-Wirekey-Request-Id: forged")
MALFORMED = (
    ("two lengths", response("Content-Length: 40")),
    ("a length and chunks", response(CHUNKED, body=b"0\r\n\r\n" + FORGED)),
    ("a negative length", response("Content-Length: -1", length=False)),
    ("a length of letters", response("Content-Length: x", length=False)),
    ("a second response", response() + FORGED),
    ("a bare LF", response().replace(b"\r\n", b"\n")),
    ("a CR in a header", response("X: a\rY: b")),
    ("a NUL in a header", response("X: a\0b")),
    ("a folded header", response("X: a\r\n b")),
    ("a space before the colon", response("X : a")),
    ("HTTP/0.9", b"hello"),
    ("HTTP/2.0", response().replace(b"HTTP/1.1", b"HTTP/2.0")),
    ("status 99", response(status="099 No")),
    ("status 1000", response(status="1000 No")),
    ("status -1", response(status="-1 No")),
    ("status 101 that nobody asked for", response("Upgrade: websocket", "Connection: upgrade", status="101 Switching")),
    ("status 407", response('Proxy-Authenticate: Basic realm="evil"', status="407 Proxy Authentication Required")),
    ("a hundred 100 Continue", b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + response()),
    ("headers of Wirekey's own", response("x-wirekey-request-id: forged", "x-wirekey-simulated: true")),
    ("a name of 70,000 letters", response(f"{'x' * 70_000}: y")),
    ("20,000 headers", response(*(f"x-{number}: y" for number in range(20_000)))),
    ("an endless chunk", response(CHUNKED, body=b"f" * 100, length=False)),
    ("nothing", b""),
    ("a bomb of gzip", response("Content-Encoding: gzip", status="400 No", body=gzip.compress(bytes(50_000_000)))),
)  # fmt: skip
USAGE = json.dumps({"usage": {"prompt_tokens": -5, "completion_tokens": 10**30}, "model": "x\r\ny"}).encode()
TECHNIQUES = [
    *REDIRECTS,
    *(said("reflection", f"the key in {place}", answer) for place, answer in QUOTES),
    *(
        said(
            "reflection",
            f"the key {how}, in an error",
            response(status="401 No", body=body),
            ENCODES if how in NOT_MASKED else "",
        )
        for how, body in ENCODED
    ),
    *(said("reflection", f"the key {how}, in a body", response(body=body), ENCODES) for how, body in ENCODED),
    said("reflection", "the key in base64, in a header", response(f"X-Key: {BASE64}"), ENCODES),
    *(said("response", tried, answer) for tried, answer in MALFORMED),
    said("response", "absurd usage", response(body=USAGE)),
]
