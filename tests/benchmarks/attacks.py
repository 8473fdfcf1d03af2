"""The attacks of the benchmark of abuse, each in a process of its own: python -m tests.benchmarks.attacks ROW TARGET

TARGET is JSON: port, ca, token ("" for attacks that need none). Goes on until it is ended.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import time
from collections.abc import Callable
from functools import partial

from hyperframe.frame import (
    DataFrame,
    ExtensionFrame,
    Frame,
    PingFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.http2_client import Http2Client
from tests.support.raw_client import RawClient, post

HOST = "api.openai.com"
MIB = 1 << 20
LARGE_STREAM = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"stream":true}'
BROKEN_OFF = (OSError, ssl.SSLError, AssertionError)


class Attacker:
    def __init__(self, port: int, ca: str, token: str) -> None:
        self.address, self.ca, self.token = f"127.0.0.1:{port}", ca, token
        self.kept: list[object] = []

    def tunnel(self, *alpn: str, token: str | None = None) -> RawClient:
        client = RawClient(self.address)
        token = self.token if token is None else token
        client.connect(f"{HOST}:443", "mallory" if token else "", token)
        client.start_tls(self.ca, HOST, alpn or ("http/1.1",))
        return client


def rapid_reset(attacker: Attacker) -> None:
    """R3: 5,000 streams opened and reset, as far as the connection lets that be; then the next one."""
    client = Http2Client(attacker.tunnel("h2"))
    with contextlib.suppress(*BROKEN_OFF):
        for _ in range(5000):
            client.reset(client.open(body=None))
        client.flush()
        while client.receive():
            pass
    client.tunnel.socket.close()


EMPTY_FRAMES: dict[str, Frame] = {
    "PING": PingFrame(0, b"12345678"),
    "SETTINGS": SettingsFrame(0),
    "WINDOW_UPDATE": WindowUpdateFrame(0, window_increment=1),
    "PRIORITY": PriorityFrame(3, depends_on=1),
    "unknown": ExtensionFrame(type=0xEE, stream_id=0, flag_byte=0, body=b""),
}


def empty_frames(attacker: Attacker, frame: Frame) -> None:
    """R3: 50,000 frames that carry nothing, as far as the connection lets that be; then the next one."""
    client = Http2Client(attacker.tunnel("h2", token=""))
    with contextlib.suppress(*BROKEN_OFF):
        client.tunnel.send(frame.serialize() * 50_000)
        while client.receive():
            pass
    client.tunnel.socket.close()


def bodies_of_single_bytes(attacker: Attacker) -> None:
    """R3: a body of 64 KiB in frames of one byte."""
    client = Http2Client(attacker.tunnel("h2"))
    with contextlib.suppress(*BROKEN_OFF):
        stream = client.open(body=None)
        client.flush()
        client.tunnel.send(DataFrame(stream, b" ").serialize() * 64 * 1024)
        client.reset(stream)
        client.flush()
    client.tunnel.socket.close()


def window_of_nothing(attacker: Attacker) -> None:
    """R4: large answers on HTTP/2 streams with a window of 0, and on a connection of HTTP/1.1 that is not read."""
    client = Http2Client(attacker.tunnel("h2"), window=0)
    for _ in range(4):
        client.open(("x-events", "2000"), ("x-size", "32000"), body=LARGE_STREAM)
    client.flush()
    unread = attacker.tunnel()
    unread.send(post("X-Events: 2000", "X-Size: 32000", body=LARGE_STREAM))
    attacker.kept = [*attacker.kept[-6:], client, unread]
    time.sleep(1)


def unfinished_bodies(attacker: Attacker) -> None:
    """R5: bodies of 32 MiB, all but their end."""
    client = attacker.tunnel()
    attacker.kept = [*attacker.kept[-40:], client]
    with contextlib.suppress(*BROKEN_OFF):
        client.send(post(body=b" " * (32 * MIB))[:-1])
    time.sleep(0.1)


def tiny_objects(attacker: Attacker) -> None:
    """R6: bodies of 28 MiB of tiny objects, and of 8 MiB of empty ones."""
    for body in (
        b'{"messages":[' + b'{"a":1},' * (28 * MIB // 8) + b"0]}",
        b'{"a":[' + b"{}," * (8 * MIB // 3) + b"0]}",
    ):
        with contextlib.suppress(*BROKEN_OFF), attacker.tunnel() as client:
            client.send(post(body=body))
            client.read_response()


def silence(attacker: Attacker) -> None:
    """R7: connections that say nothing, half a head, or CONNECT without a ClientHello; 300 of them."""
    host, _, port = attacker.address.rpartition(":")
    beginnings = (b"", b"POST / HT", f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
    while len(attacker.kept) < 300:
        connection = socket.create_connection((host, int(port)))
        connection.sendall(beginnings[len(attacker.kept) % 3])
        attacker.kept.append(connection)
    attacker.kept.pop(0)
    time.sleep(0.02)


def refused(attacker: Attacker) -> None:
    """R18: requests without a token, one after another."""
    with contextlib.suppress(*BROKEN_OFF), attacker.tunnel(token="") as client:
        for _ in range(200):
            client.send(post())
            client.read_response()


ATTACKS: dict[str, Callable[[Attacker], None]] = {
    "R3": rapid_reset,
    **{f"R3-{name}": partial(empty_frames, frame=frame) for name, frame in EMPTY_FRAMES.items()},
    "R3-bytes": bodies_of_single_bytes,
    "R4": window_of_nothing,
    "R5": unfinished_bodies,
    "R6": tiny_objects,
    "R7": silence,
    "R18": refused,
}


def main() -> None:
    attack, target = ATTACKS[sys.argv[1]], json.loads(sys.argv[2])
    attacker = Attacker(target["port"], target["ca"], target["token"])
    while True:
        try:
            attack(attacker)
        except BROKEN_OFF:
            time.sleep(0.01)


if __name__ == "__main__":
    main()
