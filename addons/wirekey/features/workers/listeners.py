"""Listeners that several workers share: each accepts connections from the same sockets.

The supervisor opens the sockets and keeps them open, so a connection that no worker has accepted yet is never lost, and
a worker that has no time leaves it to the others. With a socket for each worker (SO_REUSEPORT), the system would choose
the worker before it is known which one has time, and the connections that wait for a worker would wait for its
successor.

mitmproxy opens listeners itself, by address. Here it gets the sockets instead.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Any

from mitmproxy.proxy import mode_servers

from wirekey.config import HostPort
from wirekey.server.listeners import BACKLOG, OPTIONAL, PLACEHOLDER_HOST, listen_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wirekey.config import Config

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds without accepting after the system had no descriptor for a connection."""

_own_listen = mode_servers.AsyncioServerInstance.listen


class SharedListener:
    """Accepts connections from a socket that other processes accept from, too. `close` leaves the socket to them.

    One connection is accepted in each turn of the event loop. So a worker that is busy takes few, and connections that
    arrive together are spread.
    """

    def __init__(self, sock: socket.socket, handle: Callable[..., Any]) -> None:
        self.sockets = (sock,)
        self._sock = sock
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Stop accepting connections."""
        self._is_closed = True
        self._loop.remove_reader(self._sock)

    def _accept(self) -> None:
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # another process was faster
        except OSError as error:
            if error.errno == errno.EINVAL:
                self.close()  # the supervisor has ended the socket for all
                return
            logger.error("No connections are accepted for %g s: %s", PAUSE, error.strerror)  # noqa: TRY400  # complete
            self._loop.remove_reader(self._sock)
            self._loop.call_later(PAUSE, self._accept_again)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accept_again(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._sock, self._accept)

    async def _serve(self, connection: socket.socket) -> None:
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._handle, loop=self._loop)
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError:
            connection.close()


def accept_from(sockets: Mapping[str, Sequence[socket.socket]]) -> None:
    """Have mitmproxy accept connections from these sockets rather than open its own."""
    by_place = {
        (address_of(one).host, address_of(one).port): given
        for name, given in sockets.items()
        if name != "console"
        for one in given[:1]
    }

    async def listen(instance: Any, host: str, port: int) -> list[Any]:
        given = by_place.get((host, port))
        if given is None:
            opened: list[Any] = await _own_listen(instance, host, port)
            return opened
        return [SharedListener(one, instance.handle_stream) for one in given]

    mode_servers.AsyncioServerInstance.listen = listen  # type: ignore[method-assign, assignment]


def shared_modes(sockets: Mapping[str, Sequence[socket.socket]]) -> list[str]:
    """Return the value of mitmproxy's option `mode` for the sockets of the proxy and the gateway."""
    found = [f"regular@{address_of(sockets['forward'][0])}"]
    if gateway := sockets.get("gateway"):
        found.append(f"reverse:http://{PLACEHOLDER_HOST}@{address_of(gateway[0])}")
    return found


def address_of(sock: socket.socket) -> HostPort:
    """Return the address that a socket listens on."""
    host, port = sock.getsockname()[:2]
    return HostPort(host, port)


def open_listeners(config: Config) -> dict[str, list[socket.socket]]:
    """Return listener → its sockets, by the setting `listen`. Raises OSError with a message for people.

    The gateway and the console stay closed if their default ports are taken.
    """
    found: dict[str, list[socket.socket]] = {}
    try:
        for name in ("forward", *OPTIONAL):
            place = getattr(config.listen, name)
            if place is None:
                continue
            try:
                found[name] = list(listening(place))
            except OSError as error:
                message = listen_error(error, str(place), f"listen.{name}", "wirekey.yaml")
                if name not in OPTIONAL or name in config.listen.model_fields_set:
                    raise OSError(error.errno, message) from error
                logger.warning("%s Until then Wirekey runs without the %s.", message, name)
    except OSError:
        for sockets in found.values():
            for one in sockets:
                one.close()
        raise
    return found


def listening(place: HostPort) -> Iterator[socket.socket]:
    """Yield a socket for each address of a host, all with the same port. Raises OSError."""
    port = place.port
    found = socket.getaddrinfo(place.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if not found:
        raise OSError(errno.EADDRNOTAVAIL, "has no address that can be listened on")
    for family, kind, protocol, _, address in dict.fromkeys(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        port = sock.getsockname()[1]
        yield sock
