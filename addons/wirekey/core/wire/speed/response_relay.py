"""Relays the body of a response from an HTTP/1.1 provider to an HTTP/1.1 client, one read of the socket at a time.

mitmproxy makes events and commands of each chunk of a body. Here all that was received together passes the stream's tap
as one piece, and leaves as one chunk. The states of mitmproxy's readers are kept, so that its layers can continue at
any byte. They get the end of a response, and whatever is not the plain middle of a body.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mitmproxy.proxy.layers.http import HttpClient

from wirekey.core.wire.delegate import ResponseRefused
from wirekey.core.wire.pooled_tls import PooledTlsClient
from wirekey.core.wire.speed.body_reading import read_body
from wirekey.core.wire.speed.http1 import FastHttp1Client, FastHttp1Server
from wirekey.core.wire.stream import WireStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.connection import Connection
    from mitmproxy.proxy.layer import Layer

    from wirekey.core.wire.speed.direct_layer import DirectHttpLayer


def relay(layer: DirectHttpLayer, connection: Connection, data: bytes, send: Callable[[bytes], None]) -> bytes | None:
    """Relay the bytes from a provider as far as possible. Returns the rest, if the layers must handle it.

    `send`: sends bytes to the client.
    """
    found = layer.connections.get(connection)
    if type(found) is PooledTlsClient:
        http: Layer | None = found.http
    elif type(found) is HttpClient:  # without TLS; with it, the bytes are encrypted here
        http = found.context.layers[-1]
    else:
        return data
    if type(http) is not FastHttp1Client or http.stream_id is None or http.state != http.read_body:
        return data
    stream, client = layer.streams.get(http.stream_id), layer.connections.get(layer.context.client)
    if (
        not isinstance(stream, WireStream)
        or stream._paused is not None  # noqa: SLF001  # mitmproxy has no other way to ask
        or stream.server_state != stream.state_stream_response_body
        or type(client) is not FastHttp1Server
        or client.stream_id != http.stream_id
        or client.response is None
    ):
        return data
    body, rest = read_body(http.body_reader, http.take_buffer() + data if len(http.buf) else data)
    if body:
        stream.received_at = time.monotonic()
        try:
            pieces = stream.tapped(body)
        except ResponseRefused as refused:
            layer.run_generator(stream, stream.end_refused(refused))
        else:
            send_body(pieces, send, is_chunked=client.sends_chunks)
    return rest


def send_body(pieces: list[bytes], send: Callable[[bytes], None], *, is_chunked: bool) -> None:
    """Send a part of a body to the client, in the framing of its response."""
    body = b"".join(pieces) if len(pieces) != 1 else pieces[0]
    if body:
        send(b"%x\r\n%b\r\n" % (len(body), body) if is_chunked else body)
