"""One TLS connection to an upstream, by asyncio's TLS: it outlives the client connection that it was made for.

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

from wirekey.wire.racing import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitmproxy.connection import Connection, Server

    from wirekey.wire.racing import Address

ALPN = "http/1.1"
CLOSING_SECONDS = 0.5
"""How long the other side may take to say good-bye; its last words reach nobody."""
HANDSHAKE_SECONDS = 3600.0
"""Longer than any limit for connecting, which is kept elsewhere."""
WRITTEN_AHEAD = 64 * 1024
"""Bytes that may wait to be sent before who writes is asked to wait."""

links: WeakKeyDictionary[Connection, PooledConnection] = WeakKeyDictionary()
"""By the connection that mitmproxy's layers know it as, at present or last."""


class Origin(NamedTuple):
    """Where a connection was asked for, and so whose certificate it was verified against."""

    host: str
    port: int


class PooledConnection(asyncio.Protocol):
    """Has a holder, to whom its bytes go, or lies idle: then it must stay silent, and a byte ends it.

    It is its own writer, with as much of `asyncio.StreamWriter` as mitmproxy uses.
    """

    transport: asyncio.Transport
    facts: dict[str, Any]
    """What mitmproxy's connection object says of it."""

    def __init__(self, origin: Origin, dialled_at: float) -> None:
        self.origin = origin
        self.dialled_at = dialled_at
        self.generation = 0
        self.begun_at = time.monotonic()
        self.reached_at = time.time()
        self.requests = 0
        self.receive: Callable[[bytes], bool] | None = None
        self.on_end: Callable[[PooledConnection], object] | None = None
        self.ended = False
        self.choked = False
        """Whether the holder cannot take more for now."""
        self.stirred = asyncio.Event()
        """That it has ended or is choked."""
        self.writable = asyncio.Event()
        self.writable.set()

    # For the holder.

    def hold(self, server: Server, receive: Callable[[bytes], bool]) -> None:
        """Let the bytes go to `receive`, which tells whether it has too many; `server` says what is true of us."""
        links[server] = self
        self.receive, self.on_end = receive, None
        for name, value in self.facts.items():
            setattr(server, name, value)

    def let_go(self) -> None:
        self.receive = None
        self.go_on()
        if not self.ended:
            self.stirred.clear()

    def use(self) -> bool:
        """Note that a request goes out. Tells whether it was not the first, so that the end may have come unseen."""
        self.requests += 1
        return self.requests > 1

    @property
    def is_silent(self) -> bool:
        """Tell whether a request can be sent: nothing is left to send, and the other side is there and silent."""
        if self.ended or self.transport.is_closing() or self.transport.get_write_buffer_size():
            return False
        return not self.waiting.poll(0)

    @property
    def address(self) -> tuple[str, int]:
        """Give the address that was dialled, after it was checked."""
        host, port = self.facts["peername"][:2]
        return host, port

    def go_on(self) -> None:
        if self.choked:
            self.choked = False
            self.transport.resume_reading()

    # As a protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(WRITTEN_AHEAD)
        self.waiting = select.poll()
        self.waiting.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP)
        self.facts = facts_of(self)

    def data_received(self, data: bytes) -> None:
        if self.receive is None:
            self.abort()
        elif self.receive(data) and not (self.choked or self.ended):
            self.choked = True
            self.transport.pause_reading()
            self.stirred.set()

    def eof_received(self) -> None:
        self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.stirred.set()
            if self.on_end:
                self.on_end(self)

    # As a writer.

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    async def drain(self) -> None:
        await self.writable.wait()
        if self.ended:
            raise ConnectionResetError("the provider closed the connection")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.transport.get_extra_info(name, default)

    def write_eof(self) -> None:
        """Half of a TLS connection cannot be closed; no request of ours needs it."""

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


def facts_of(link: PooledConnection) -> dict[str, Any]:
    secured = link.transport.get_extra_info("ssl_object")
    alpn, cipher = secured.selected_alpn_protocol(), secured.cipher()
    return {
        "peername": link.transport.get_extra_info("peername"),
        "sockname": link.transport.get_extra_info("sockname"),
        "sni": link.origin.host,
        "alpn": alpn.encode() if alpn else b"",
        "cipher": cipher[0] if cipher else None,
        "tls_version": secured.version(),
        "certificate_list": certificates(secured),
        "timestamp_start": link.dialled_at,
        "timestamp_tcp_setup": link.reached_at,
        "timestamp_tls_setup": time.time(),
    }


def certificates(secured: ssl.SSLObject) -> list[certs.Cert]:
    """Give what the provider showed, its own certificate first; Python 3.12 only tells that one."""
    if hasattr(secured, "get_unverified_chain"):
        shown = secured.get_unverified_chain()
    else:
        shown = [secured.getpeercert(binary_form=True) or b""]
    found = []
    for der in shown:
        try:
            found.append(certs.Cert(load_der_x509_certificate(der)))
        except ValueError:
            continue  # verified all the same, and only shown here
    return found


async def dial(addresses: Sequence[Address], origin: Origin, context: ssl.SSLContext) -> PooledConnection:
    """Connect to one of some checked addresses, with TLS that is verified for the host of `place`. Raises OSError."""
    began = time.time()
    sock, _ = await connect(addresses)
    _, link = await asyncio.get_running_loop().create_connection(
        lambda: PooledConnection(origin, began),
        sock=sock,
        ssl=context,
        server_hostname=origin.host,
        ssl_handshake_timeout=HANDSHAKE_SECONDS,
        ssl_shutdown_timeout=CLOSING_SECONDS,
    )
    return link


def trust(roots: str | None, minimum: str) -> ssl.SSLContext:
    """Give the TLS settings that a key is sent over, as mitmproxy's own: the same roots, names and least version.

    `roots`: PEM file, None: the public ones; read anew when it has changed. `minimum`: TLS1_2 or TLS1_3.
    """
    file = roots or certifi.where()
    state = Path(file).stat()
    return _trust(file, state.st_mtime_ns, state.st_size, minimum)


@functools.lru_cache(4)
def _trust(file: str, _changed: int, _size: int, minimum: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
    context.hostname_checks_common_name = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "TLS1_3" else ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(file)
    context.set_alpn_protocols([ALPN])
    return context
