"""A syslog server that accepts only what RFC 5424, 5425 and 6587 allow, by a parser of its own."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tests.support.running import wait_for
from wirekey_simulator.certificate import prepare_certificate

HEADER = re.compile(
    rb"<(?P<priority>0|[1-9][0-9]{0,2})>1 (?P<time>\S{1,64}) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) "
    rb"(?P<process>[!-~]{1,128}) (?P<id>[!-~]{1,32}) (?P<data>-)(?: (?P<content>.*))?",
    re.DOTALL,
)
"""The grammar of a message without structured data (RFC 5424, section 6)."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")


class Message(NamedTuple):
    facility: int
    severity: int
    host: str
    app: str
    id: str
    event: dict


def parsed(message: bytes) -> Message:
    """Return the parts of a message, which must be one of RFC 5424."""
    found = HEADER.fullmatch(message)
    assert found, message[:200]
    priority, time = int(found["priority"]), found["time"].decode()
    assert priority <= 191
    assert TIME.fullmatch(time)
    datetime.fromisoformat(time)
    assert found["content"].isascii()
    return Message(
        priority // 8,
        priority % 8,
        found["host"].decode(),
        found["app"].decode(),
        found["id"].decode(),
        json.loads(found["content"]),
    )


def framed(stream: socket.socket):
    """Yield the messages of a connection, each with its length in front."""
    buffer = b""
    while True:
        length, space, rest = buffer.partition(b" ")
        if space:
            assert re.fullmatch(rb"[1-9][0-9]{0,7}", length), length
            if len(rest) >= int(length):
                yield rest[: int(length)]
                buffer = rest[int(length) :]
                continue
        data = stream.recv(65536)
        if not data:
            assert not buffer, "the connection ends within a message"
            return
        buffer += data


class SyslogServer:
    """`behaviours`: of the first connections: `close` at once, `hang` without reading. Later ones are read."""

    def __init__(self, transport: str, folder: Path | None = None, *behaviours: str, port: int = 0) -> None:
        self.transport = transport
        self.messages: list[Message] = []
        self.wrong: list[BaseException] = []
        self.connections = 0
        self._behaviours = list(behaviours)
        self._context = None
        self._ended = threading.Event()
        self._open: list[socket.socket] = []
        if transport == "tls":
            assert folder
            server, self.ca_file = prepare_certificate(folder)
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(server)
        if transport == "udp":
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("127.0.0.1", port))
        else:
            self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._receive if transport == "udp" else self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.transport}://127.0.0.1:{self.port}"

    @property
    def events(self) -> list[dict]:
        return [message.event for message in self.messages]

    def wait_for(self, count: int) -> list[dict]:
        """Return the events once there are as many."""
        wait_for(lambda: self.wrong or len(self.messages) >= count, f"{count} messages")
        assert not self.wrong
        return self.events

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, _ = self._socket.recvfrom(65536)
                self._note(data)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                behaviour = self._behaviours.pop(0) if self._behaviours else None
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection, behaviour), daemon=True).start()

    def _serve(self, connection: socket.socket, behaviour: str | None) -> None:
        with contextlib.suppress(OSError), connection:
            if behaviour == "close":
                return
            if behaviour == "hang":
                self._ended.wait()
                return
            stream = self._context.wrap_socket(connection, server_side=True) if self._context else connection
            self._open.append(stream)
            try:
                for message in framed(stream):
                    self._note(message)
            except AssertionError as error:
                self.wrong.append(error)

    def _note(self, data: bytes) -> None:
        try:
            self.messages.append(parsed(data))
        except (AssertionError, ValueError) as error:
            self.wrong.append(error)

    def stop(self) -> None:
        """Close everything."""
        self._ended.set()
        for each in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
