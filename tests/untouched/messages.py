"""HTTP messages as the bytes that they are: start line, header lines, body and trailers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import hpack
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame

END = b"\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(frozen=True)
class Message:
    """A request or a response. In HTTP/2, pseudo-headers are lines, too, and `start` is empty.

    `framed`: the body as it was framed, with the sizes of its chunks. `interim`: responses of status 1xx before it.
    """

    start: bytes
    lines: tuple[bytes, ...]
    body: bytes
    framed: bytes = b""
    trailers: tuple[bytes, ...] = ()
    interim: tuple[bytes, ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a header."""
        return [value_of(line) for line in self.lines if name_of(line) == name]

    @property
    def head(self) -> bytes:
        """The bytes of the head in HTTP/1.1."""
        return b"\r\n".join([self.start, *self.lines]) + END

    @property
    def is_http2(self) -> bool:
        return not self.start


def name_of(line: bytes) -> bytes:
    """Return the name in a header line, in lower case."""
    return line[: line.index(b":", 1)].lower()


def value_of(line: bytes) -> bytes:
    return line[line.index(b":", 1) + 1 :].strip(b" \t")


class Reader:
    """Reads messages of HTTP/1.1 from what `receive` returns, b"" at its end."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self.receive, self.data = receive, b""

    def message(self, *, of_get: bool = False) -> Message | None:
        """Return the next message, or None at the end. A response without a length lasts until the end."""
        interim = []
        while True:
            if (head := self.until(END)) is None:
                return None
            start, *lines = head.removesuffix(END).split(b"\r\n")
            if not start.startswith(b"HTTP/1.1 1"):
                break
            interim.append(head)
        found = Message(start, tuple(lines), b"", interim=tuple(interim))
        is_response = start.startswith(b"HTTP/")
        if any(b"chunked" in value.lower() for value in found.values(b"transfer-encoding")):
            body, framed, trailers = self.chunks()
            return Message(start, tuple(lines), body, framed, trailers, tuple(interim))
        if lengths := found.values(b"content-length"):
            body = b"" if of_get else self.exactly(int(lengths[0]))
        else:
            body = self.rest() if is_response else b""
        return Message(start, tuple(lines), body, body, (), tuple(interim))

    def chunks(self) -> tuple[bytes, bytes, tuple[bytes, ...]]:
        body, framed = [], []
        while True:
            size = self.until(b"\r\n") or b""
            framed.append(size)
            if not (length := int(size.partition(b";")[0], 16)):
                break
            framed.append(self.exactly(length + 2))
            body.append(framed[-1][:-2])
        trailers = []
        while (line := self.until(b"\r\n")) != b"\r\n":
            trailers.append((line or b"").removesuffix(b"\r\n"))
        return b"".join(body), b"".join(framed), tuple(trailers)

    def until(self, end: bytes) -> bytes | None:
        while end not in self.data:
            if not (more := self.receive()):
                return None
            self.data += more
        found, _, self.data = self.data.partition(end)
        return found + end

    def exactly(self, count: int) -> bytes:
        while len(self.data) < count:
            if not (more := self.receive()):
                raise AssertionError("the connection ended within a message")
            self.data += more
        found, self.data = self.data[:count], self.data[count:]
        return found

    def rest(self) -> bytes:
        while more := self.receive():
            self.data += more
        found, self.data = self.data, b""
        return found


def http1_messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of one direction of a connection."""
    pieces = iter([data])
    reader = Reader(lambda: next(pieces, b""))
    while message := reader.message():
        yield message


def http2_messages(data: bytes) -> dict[int, Message]:
    """Return stream → message of one direction of a connection, without frames for flow control."""
    data, decoder = data.removeprefix(PREFACE), hpack.Decoder()
    heads: dict[int, list[bytes]] = {}
    bodies: dict[int, bytes] = {}
    while len(data) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        data = data[9 + length :]
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            heads.setdefault(frame.stream_id, []).append(frame.data)
        elif isinstance(frame, DataFrame):
            bodies[frame.stream_id] = bodies.get(frame.stream_id, b"") + frame.data
    return {
        stream: Message(b"", tuple(field_lines(decoder.decode(b"".join(parts), raw=True))), bodies.get(stream, b""))
        for stream, parts in heads.items()
    }


def field_lines(headers) -> Iterator[bytes]:
    """Yield fields of HTTP/2 as lines."""
    for name, value in headers:
        yield bytes(name) + b": " + bytes(value)


def fields(message: Message) -> list[tuple[bytes, bytes]]:
    """Return the lines of a message of HTTP/2 as fields."""
    return [(line[: line.index(b":", 1)], value_of(line)) for line in message.lines]
