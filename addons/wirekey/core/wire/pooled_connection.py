"""One upstream connection with asyncio's TLS, which outlives the client connection that it was opened for.

mitmproxy's own TLS to an upstream is a layer inside one client connection, and ends with it.
"""

from __future__ import annotations

import asyncio
import functools
import select
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import certifi
from cryptography.x509 import load_der_x509_certificate
from mitmproxy import certs

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from mitmproxy.connection import Connection, Server

    from wirekey.core.wire.happy_eyeballs import Address

ALPN = "http/1.1"
TLS_SHUTDOWN_SECONDS = 0.5
"""Time for the provider's close_notify. Data that it sends before is dropped."""
TLS_HANDSHAKE_SECONDS = 3600.0
"""Longer than any limit for connecting. That limit is checked by the stream."""
WRITE_BUFFER_BYTES = 64 * 1024
"""Bytes that may wait to be written before a writer must wait."""

READ_BUFFER_BYTES = 64 * 1024
"""Bytes that are read from a socket at once. Each connection keeps a buffer for the encrypted ones, up to this size."""

_read_buffer = bytearray(READ_BUFFER_BYTES)
"""The bytes that one of all connections has just received, until they are decrypted in the same call."""
_read_view = memoryview(_read_buffer)

pooled_connections: WeakKeyDictionary[Connection, PooledConnection] = WeakKeyDictionary()
"""By mitmproxy's connection object, of the client connection that uses or last used it."""


class Origin(NamedTuple):
    """The host and port that a connection was requested for. Its certificate was verified for this host."""

    host: str
    port: int


class PooledConnection(asyncio.Protocol):
    """A TLS connection that is attached to one client connection, or idle in the pool.

    Attached, it hands received bytes to the client connection's layers. Idle, it must receive nothing: a byte closes
    it. It is also the writer of the connection, with the part of `asyncio.StreamWriter` that mitmproxy uses.
    """

    transport: asyncio.Transport
    attributes: dict[str, Any]
    """Attributes that mitmproxy's connection object shows: addresses, certificates, times."""

    def __init__(self, origin: Origin, connect_started_at: float) -> None:
        self.origin = origin
        self.connect_started_at = connect_started_at
        self.generation = 0
        """The pool's, when the connection was opened."""
        self.opened_at = time.monotonic()
        self.tcp_connected_at = time.time()
        self.request_count = 0
        self.receive: Callable[[bytes], bool] | None = None
        self.on_close: Callable[[PooledConnection], object] | None = None
        self.is_closed = False
        self.is_reading_paused = False
        """Whether the client must read before more is read here."""
        self.state_changed = asyncio.Event()
        """Set when the connection was closed, or reading was paused."""
        self.writable = asyncio.Event()
        self.writable.set()

    # For the client connection that uses it.

    def attach(self, server: Server, receive: Callable[[bytes], bool]) -> None:
        """Hand received bytes to `receive`, which returns whether reading must pause. Fill in `server`'s attributes."""
        pooled_connections[server] = self
        self.receive, self.on_close = receive, None
        for name, value in self.attributes.items():
            setattr(server, name, value)

    def detach(self) -> None:
        """Leave the client connection. Whatever is received from now on closes this connection."""
        self.receive = None
        self.resume_reading()
        if not self.is_closed:
            self.state_changed.clear()

    def start_request(self) -> bool:
        """Count a request. Returns whether it is not the first, so that the provider may have closed the connection."""
        self.request_count += 1
        return self.request_count > 1

    @property
    def is_reusable(self) -> bool:
        """Return whether a request can be sent: all was written, nothing was received, and the connection is open."""
        if self.is_closed or self.transport.is_closing() or self.transport.get_write_buffer_size():
            return False
        return not self.socket_poll.poll(0)

    @property
    def address(self) -> tuple[str, int]:
        """Return the IP address and port that the connection was opened to."""
        host, port = self.attributes["peername"][:2]
        return host, port

    def resume_reading(self) -> None:
        """Read again, if reading was paused."""
        if self.is_reading_paused:
            self.is_reading_paused = False
            self.transport.resume_reading()

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start after the TLS handshake."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        self.socket_poll = select.poll()
        self.socket_poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP)
        self.attributes = attributes_of(self)

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the client connection. Close an idle connection."""
        if self.receive is None:
            self.abort()
        elif self.receive(data) and not (self.is_reading_paused or self.is_closed):
            self.is_reading_paused = True
            self.transport.pause_reading()
            self.state_changed.set()

    def eof_received(self) -> None:
        """Close, as the provider did: half of a TLS connection cannot stay open."""
        self.mark_closed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the tasks that wait for the connection."""
        self.mark_closed()
        self.writable.set()

    def pause_writing(self) -> None:
        """Make writers wait."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Wake waiting writers."""
        self.writable.set()

    def mark_closed(self) -> None:
        """Note the end of the connection, once, and tell the pool."""
        if not self.is_closed:
            self.is_closed = True
            self.state_changed.set()
            if self.on_close:
                self.on_close(self)

    # asyncio.StreamWriter.

    def write(self, data: bytes) -> None:
        """Write bytes, or buffer them."""
        self.transport.write(data)

    def is_closing(self) -> bool:
        """Return whether nothing can be written any more."""
        return self.transport.is_closing()

    async def drain(self) -> None:
        """Wait until nearly all is written. Raises ConnectionResetError if the connection was closed."""
        await self.writable.wait()
        if self.is_closed:
            raise ConnectionResetError("the provider closed the connection")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a property of the transport, such as its socket."""
        return self.transport.get_extra_info(name, default)

    def write_eof(self) -> None:
        """Do nothing: half of a TLS connection cannot be closed, and no request needs it."""

    def close(self) -> None:
        """Close the connection after all was written."""
        self.transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()


def attributes_of(connection: PooledConnection) -> dict[str, Any]:
    """Return what mitmproxy's connection object shows of a connection."""
    transport = connection.transport
    ssl_object = transport.get_extra_info("ssl_object")
    alpn, cipher = ssl_object.selected_alpn_protocol(), ssl_object.cipher()
    return {
        "peername": transport.get_extra_info("peername"),
        "sockname": transport.get_extra_info("sockname"),
        "sni": connection.origin.host,
        "alpn": alpn.encode() if alpn else b"",
        "cipher": cipher[0] if cipher else None,
        "tls_version": ssl_object.version(),
        "certificate_list": certificates(ssl_object),
        "timestamp_start": connection.connect_started_at,
        "timestamp_tcp_setup": connection.tcp_connected_at,
        "timestamp_tls_setup": time.time(),
    }


def certificates(ssl_object: ssl.SSLObject) -> list[certs.Cert]:
    """Return the provider's certificates, its own first. Python 3.12 only has that one."""
    if hasattr(ssl_object, "get_unverified_chain"):
        chain = ssl_object.get_unverified_chain()
    else:
        chain = [ssl_object.getpeercert(binary_form=True) or b""]
    return [found for der in chain if (found := parsed_certificate(der)) is not None]


@functools.lru_cache(64)
def parsed_certificate(der: bytes) -> certs.Cert | None:
    """Return a certificate, the same object for the same bytes. None if cryptography cannot parse it."""
    try:
        return certs.Cert(load_der_x509_certificate(der))
    except ValueError:
        return None  # OpenSSL has verified it; here it is only shown


async def open_connection(
    dialled: Awaitable[tuple[socket.socket, Address]], origin: Origin, context: ssl.SSLContext
) -> PooledConnection:
    """Connect, and verify that the certificate is for the origin's host. Raises OSError."""
    started = time.time()
    sock, _ = await dialled
    transport, connection = await asyncio.get_running_loop().create_connection(
        lambda: PooledConnection(origin, started),
        sock=sock,
        ssl=context,
        server_hostname=origin.host,
        ssl_handshake_timeout=TLS_HANDSHAKE_SECONDS,
        ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS,
    )
    save_memory(transport)
    return connection


def save_memory(transport: asyncio.BaseTransport) -> None:
    """Make a TLS connection use the read buffer of all connections, and forget the parsed certificate.

    asyncio reads into the buffer and decrypts what was read in one call, so no other connection is in between. The
    certificate takes 6 KiB as a dict, which nothing reads.
    """
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if hasattr(protocol, "_ssl_buffer"):
        protocol._ssl_buffer, protocol._ssl_buffer_view = _read_buffer, _read_view  # noqa: SLF001
        protocol._extra.pop("peercert", None)  # noqa: SLF001


def tls_context(roots: str | None, minimum: str) -> ssl.SSLContext:
    """Return TLS settings as strict as mitmproxy's: the same roots, verified names, the same minimum version.

    `roots`: path of a PEM file, or None for the public roots. A changed file is read again. `minimum`: TLS1_2 or
    TLS1_3. Raises OSError if the file cannot be read.
    """
    file = roots or certifi.where()
    state = Path(file).stat()
    return _tls_context(file, state.st_mtime_ns, state.st_size, minimum)


@functools.lru_cache(4)
def _tls_context(file: str, _changed: int, _size: int, minimum: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
    context.hostname_checks_common_name = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "TLS1_3" else ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(file)
    context.set_alpn_protocols([ALPN])
    return context
