"""Requests of Wirekey's own: for the keys of issuers, for the providers' lists of models, and to an OPA server.

It is HTTP/1.1 by h11 over the streams of asyncio, because each decision of an OPA server is a request: httpcore and
httpx need three times the processor time for one. No redirect is followed. Of the proxies, only the one that the caller
names is used: that of the environment may be Wirekey itself.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h11

from wirekey.core.egress.addresses import is_private_network, reason_to_refuse
from wirekey.core.egress.upstream_proxy import tunnel_through

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.core.egress.upstream_proxy import UpstreamProxy

SILENCE, WHOLE = 5.0, 15.0
"""Seconds that `fetch` may take without a byte, and as a whole."""
PART = 64 * 1024
"""Bytes read at once, and the longest head of a response."""


class HttpError(Exception):
    """There is no usable response. The message ends a sentence about the server, and does not quote the response."""


class StaleConnectionError(HttpError):
    """The server closed the connection before any part of the response."""


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server that requests are sent to. `context` None: plain HTTP.

    `addresses` are dialled, one after the other, in place of those that the host name has. With a `proxy` they are the
    proxy's. Without them, the proxy's name is looked up.
    """

    host: str
    port: int
    context: ssl.SSLContext | None = None
    addresses: tuple[str, ...] = ()
    proxy: UpstreamProxy | None = None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request with its whole body. `headers` includes Host. `max_bytes`: of the body of the response."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    max_bytes: int
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole response. `headers`: by lower-case name, the last of each name."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class HttpConnection:
    """One connection, for one request at a time. `silence`: seconds without a byte, after which it fails."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: float | None) -> None:
        self._reader, self._writer, self._silence = reader, writer, silence
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=PART)
        self._has_received = False

    @classmethod
    async def open(cls, server: HttpServer, silence: float | None = None) -> HttpConnection:
        """Connect, and verify the certificate of the server. Raises HttpError."""
        failure: Exception = OSError("no address")
        name = server.host if server.context else None
        addresses = server.addresses or (server.host,)
        if server.proxy and not server.addresses:
            addresses = await asyncio.to_thread(resolve, server.proxy.host, server.proxy.port)
        for address in addresses:
            try:
                async with asyncio.timeout(silence):
                    if server.proxy is None:
                        streams = await asyncio.open_connection(
                            address, server.port, ssl=server.context, server_hostname=name
                        )
                    else:
                        sock = await tunnel_through(server.proxy, address, server.host, server.port)
                        streams = await asyncio.open_connection(sock=sock, ssl=server.context, server_hostname=name)
                return cls(*streams, silence)
            except OSError as error:
                failure = error
        raise HttpError(reason_of(failure)) from failure

    @property
    def is_reusable(self) -> bool:
        """Whether another request can be sent: the response was read, and nothing has arrived since.

        Otherwise these bytes would be taken for the response to the next request.
        """
        is_done = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        return is_done and not self._has_unread

    @property
    def _has_unread(self) -> bool:
        """Whether bytes, or the end, wait in the parser, the reader, or the socket."""
        waiting, has_ended = self._http.trailing_data
        if waiting or has_ended or self._reader._buffer or self._reader.at_eof():  # type: ignore[attr-defined]  # noqa: SLF001  # asyncio has no other way to ask
            return True
        number = self._writer.get_extra_info("socket").fileno()
        if number < 0:
            return True
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the connection."""
        self._writer.transport.abort()

    async def exchange(self, request: HttpRequest) -> HttpResponse:
        """Send a request and return the response. Raises HttpError, StaleConnectionError."""
        if self._http.our_state is not h11.IDLE:
            if not self.is_reusable:
                raise StaleConnectionError("it sends more than its response")
            self._http.start_next_cycle()
        self._has_received = False
        try:
            return await self._exchange(request)
        except (OSError, h11.ProtocolError) as error:
            is_timeout = isinstance(error, TimeoutError)
            kind = HttpError if self._has_received or is_timeout else StaleConnectionError
            raise kind(reason_of(error)) from error

    async def _exchange(self, request: HttpRequest) -> HttpResponse:
        head = h11.Request(method=request.method, target=request.target, headers=list(request.headers))
        events = (head, h11.Data(data=request.body), h11.EndOfMessage())
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        async with asyncio.timeout(self._silence):
            await self._writer.drain()
        start = await self._next()
        if not isinstance(start, h11.Response):
            raise HttpError(f"it responds with status {start.status_code}")
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > request.max_bytes:
                raise HttpError(f"its response is longer than {request.max_bytes} bytes")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start.headers}
        return HttpResponse(start.status_code, headers, bytes(body))

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(self._silence):
                data = await self._reader.read(PART)
            self._has_received = self._has_received or bool(data)
            self._http.receive_data(data)
        return event


def fetch(server: HttpServer, requests: Iterable[HttpRequest]) -> list[HttpResponse]:
    """Send requests until one is not successful, and return the responses.

    Blocks, for at most `WHOLE` seconds: run it in a thread without an event loop. Raises HttpError.
    """
    return asyncio.run(_fetch(server, requests))


async def _fetch(server: HttpServer, requests: Iterable[HttpRequest]) -> list[HttpResponse]:
    responses: list[HttpResponse] = []
    connection: HttpConnection | None = None
    try:
        async with asyncio.timeout(WHOLE):
            for request in requests:
                if connection is None or not connection.is_reusable:
                    if connection:
                        connection.close()
                    connection = await HttpConnection.open(server, SILENCE)
                responses.append(await connection.exchange(request))
                if responses[-1].status != 200:
                    break
    except TimeoutError:
        raise HttpError(f"it takes longer than {WHOLE:g} s") from None
    finally:
        if connection:
            connection.close()
    return responses


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses of a host. Blocks. Raises HttpError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HttpError(reason_of(error)) from error
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked(host: str, addresses: tuple[str, ...], *, private: bool = False) -> tuple[str, ...]:
    """Return the addresses if all of them are public or, with `private`, of a private network. Raises HttpError."""
    for address in addresses:
        if private and is_private_network(address):
            continue
        if refused := reason_to_refuse(address):
            raise HttpError(f"{host} resolves to {refused}")
    return addresses


def reason_of(error: Exception) -> str:
    """Return why a server cannot be used, as the end of a sentence."""
    match error:
        case ssl.SSLCertVerificationError():
            return "its certificate is not trusted"
        case TimeoutError():
            return "it does not respond in time"
        case socket.gaierror():
            return "its name cannot be looked up"
        case OSError():
            return f"it cannot be reached ({error.strerror or type(error).__name__})"
    return f"its response cannot be read ({type(error).__name__})"
