"""Generated requests and responses of HTTP/1.1, in every allowed spelling. The same seed makes the same ones."""

from __future__ import annotations

import json
import random
import string
from dataclasses import replace

from tests.untouched.messages import Message

NAME = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
STATUSES = {
    200: b"OK",
    201: b"Created",
    206: b"Partial Content",
    400: b"Bad Request",
    404: b"Nothing here",
    503: b"Busy",
}
WORDS = ["canary", "coal", "mine", "Häschen", "\N{RABBIT}", '"', "\\", "\n", "\x7f", "{", "data: ", "\u2028"]


def request_of(seed: int) -> Message:
    """Return a request for a chat of OpenAI, of a kind that the policy and the reader of requests accept."""
    chance = random.Random(seed)
    body = json_body(chance)
    lines = [spelled(chance, b"Host", b"api.openai.com"), spelled(chance, b"Content-Type", b"application/json")]
    lines += [spelled(chance, b"Authorization", b"Bearer placeholder"), *own_headers(chance)]
    start = b"POST /v1/chat/completions" + chance.choice([b"", b"", b"?", b"?a=1&b=&c=%2f+%20"]) + b" HTTP/1.1"
    return framed(chance, start, lines, body)


def response_of(seed: int) -> Message:
    """Return a response, some with responses of status 1xx before it."""
    chance = random.Random(~seed)
    status = chance.choice(list(STATUSES))
    start = b"HTTP/1.1 %d %b" % (status, chance.choice([STATUSES[status], b"Some Other Reason"]))
    if chance.random() < 0.3:
        kind, body = b"text/event-stream", events(chance)
    else:
        kind, body = b"application/json", json_body(chance)
    lines = [spelled(chance, b"Content-Type", kind), *own_headers(chance)]
    response = framed(chance, start, lines, body)
    if chance.random() < 0.2:
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
        response = replace(response, interim=(hints,) * chance.choice([1, 2]))
    if response.values(b"transfer-encoding") and chance.random() < 0.3:
        response = replace(response, trailers=(b"X-Checksum: 1234", b"x-took: 5 ms"))
    return response


def own_headers(chance: random.Random) -> list[bytes]:
    """Return headers that nobody knows, in any spelling: some several times, empty, or with bytes above ASCII."""
    found = []
    for _ in range(chance.randrange(12)):
        name = "X-" + "".join(chance.choices(NAME, k=chance.randrange(1, 20)))
        value = "".join(chance.choices(string.printable[:95] + "äöü\xff", k=chance.choice([0, 1, 20, 300]))).strip()
        found += [spelled(chance, name.encode(), value.encode("latin-1"))] * chance.choice([1, 1, 1, 2])
    return found


def spelled(chance: random.Random, name: bytes, value: bytes) -> bytes:
    """Return a header line in one of its spellings."""
    name = chance.choice([name, name.lower(), name.upper(), name.swapcase()])
    before, after = chance.choice([(b" ", b""), (b" ", b""), (b"", b""), (b" \t", b"  "), (b"  ", b"\t")])
    return name + b":" + before + value + after


def framed(chance: random.Random, start: bytes, lines: list[bytes], body: bytes) -> Message:
    """Return a message with a length or in chunks, and its headers in any order."""
    if chance.random() < 0.5:
        lines.append(spelled(chance, b"Content-Length", str(len(body)).encode()))
        chance.shuffle(lines)
        return Message(start, tuple(lines), body, body)
    lines.append(spelled(chance, b"Transfer-Encoding", b"chunked"))
    chance.shuffle(lines)
    return Message(start, tuple(lines), body, chunks(chance, body))


def chunks(chance: random.Random, body: bytes) -> bytes:
    """Return a body in chunks of any size, which may cut characters and events."""
    found, largest = [], chance.choice([1, 7, 100, 5000])
    while body:
        size = chance.randrange(1, largest + 1)
        piece, body = body[:size], body[size:]
        length = f"{len(piece):x}" if chance.random() < 0.5 else f"{len(piece):03X}"
        found.append(length.encode() + b"\r\n" + piece + b"\r\n")
    return b"".join(found) + b"0\r\n"


def json_body(chance: random.Random) -> bytes:
    """Return a request of a chat as any program may write it: spaces, escapes, order, numbers, members nobody knows."""
    said = " ".join(chance.choices(WORDS, k=chance.randrange(1, 200)))
    members = [("model", "gpt-4o-mini"), ("messages", [{"role": "user", "content": said}])]
    more = [
        ("temperature", 0.1),
        ("x_unknown", [1e22, -0.0, 12345678901234567890, None, True]),
        ("n", 1),
        ("user", "ä"),
    ]
    members += chance.sample(more, chance.randrange(len(more) + 1))
    chance.shuffle(members)
    separators = chance.choice([(",", ":"), (", ", ": "), (" ,\n ", " : ")])
    text = json.dumps(dict(members), separators=separators, ensure_ascii=chance.random() < 0.5)
    return (chance.choice(["", " ", "\r\n"]) + text + chance.choice(["", "\n"])).encode()


def events(chance: random.Random) -> bytes:
    """Return server-sent events with ends of lines of all three kinds, comments, and an event that breaks off."""
    end = chance.choice(["\n", "\r\n", "\r"])
    found = []
    for number in range(chance.randrange(1, 30)):
        delta = {"choices": [{"index": 0, "delta": {"content": chance.choice(WORDS)}}], "id": str(number)}
        found.append(chance.choice(["data: ", "data:"]) + json.dumps(delta, ensure_ascii=chance.random() < 0.5))
        found.append(chance.choice(["", "", ": a comment" + end]))
    return (end.join(found) + end + chance.choice(["data: [DONE]" + end * 2, "data: {"])).encode()
