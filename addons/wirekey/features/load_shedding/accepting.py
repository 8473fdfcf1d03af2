"""Refuses connections at the listeners: a response is written to the socket, before anything else is made for it.

mitmproxy makes objects and tasks for each connection, which costs as much as a part of a call. A connection that is
refused here costs a few system calls.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from mitmproxy.proxy.mode_specs import ReverseMode

from wirekey.core.proxy_protocol import ProxyHeaderError, parse_proxy_header
from wirekey.features.load_shedding.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

logger = logging.getLogger(__name__)

AT_ONCE = 20
"""Connections that are served in one turn of the event loop. With asyncio's 100, one turn may take a second."""
REFUSED_AT_ONCE = 200
"""Connections that are refused in one turn."""
READ_BYTES = 64 * 1024
MOST = 1000
"""Connections that are being refused at a time. The oldest is closed for a further one."""
PATIENCE = 2.0
"""Seconds for the request of a connection that is refused, and for the client to close it."""
PAUSE = 1.0
"""Seconds without accepting after the system had no descriptor for a connection."""
TLS_HANDSHAKE = b"\x16"
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
MESSAGE = (
    "Wirekey has more work than it can do at the moment, and accepts no new connection. Nothing was sent. Send the "
    "request again later."
)


class HasStage(Protocol):
    """An object that knows whether connections are refused."""

    stage: Stage


class Calm:
    """Stands for the monitor until there is one."""

    stage = Stage.NOTHING


def response() -> bytes:
    """Return a response whose body each provider's SDK can read, since the provider is not known."""
    error = {"message": MESSAGE, "type": "overloaded_error", "code": "overloaded", "status": "UNAVAILABLE"}
    body = json.dumps({"type": "error", "error": error, "message": MESSAGE}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "retry-after: 1",
        "connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body


RESPONSE = response()


class Acceptors:
    """Accepts the connections of all listeners of the proxy and the gateway, and refuses them while there is a stage.

    `refused` is called with the client's address. `endpoints`: the paths of the gateway's own endpoints, which are
    always served.
    """

    def __init__(self, refused: Callable[[str], None], endpoints: Collection[str]) -> None:
        self.monitor: HasStage = Calm()
        self.refused = refused
        self.endpoints = frozenset(path.encode() for path in endpoints)
        self.refusing: OrderedDict[socket.socket, asyncio.TimerHandle] = OrderedDict()
        """The connections that are being refused, each with its deadline."""

    def take_over(self, servers: Iterable[Any]) -> None:
        """Accept the connections of mitmproxy's servers instead of their own listeners."""
        for server in servers:
            for listener in server._servers:  # noqa: SLF001  # there is no public way
                is_own = isinstance(listener, asyncio.Server)
                sockets = listener._sockets if is_own else getattr(listener, "sockets", ())  # noqa: SLF001
                for sock in sockets or ():
                    # A socket that workers share is accepted from one connection in each turn, so that all get some.
                    at_gateway = isinstance(server.mode, ReverseMode)
                    Acceptor(self, sock, server.handle_stream, AT_ONCE if is_own else 1, at_gateway=at_gateway)

    def close(self) -> None:
        """Close the connections that are being refused."""
        for connection in tuple(self.refusing):
            self.forget(connection)

    def forget(self, connection: socket.socket) -> None:
        """Close a connection that is being refused."""
        self.release(connection)
        connection.close()

    def release(self, connection: socket.socket) -> None:
        """Do not refuse a connection any more."""
        self.refusing.pop(connection).cancel()
        asyncio.get_running_loop().remove_reader(connection)

    def hold(self, connection: socket.socket) -> None:
        """Keep a connection until its client has sent its request and closed it, or until its deadline."""
        while len(self.refusing) >= MOST:
            self.forget(next(iter(self.refusing)))
        self.refusing[connection] = asyncio.get_running_loop().call_later(PATIENCE, self.forget, connection)


class Acceptor:
    """Accepts the connections of one listening socket. The socket's owner closes it, which ends this, too."""

    def __init__(
        self, all_of: Acceptors, sock: socket.socket, handle: Callable[..., Any], at_once: int, *, at_gateway: bool
    ) -> None:
        self.all = all_of
        self.sock = sock
        self.handle = handle
        self.at_once = at_once
        self.endpoints = all_of.endpoints if at_gateway else frozenset()
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        self.loop.add_reader(sock.fileno(), self.accept)  # in place of the reader of the owner

    def accept(self) -> None:
        """Accept the connections that wait."""
        refuses = self.all.monitor.stage > Stage.NOTHING
        for _ in range(REFUSED_AT_ONCE if refuses and self.at_once > 1 else self.at_once):
            try:
                connection, address = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                self.pause(error)
                return
            connection.setblocking(False)
            if refuses:
                self.all.hold(connection)
                if not self.decide(connection, address[0]):
                    self.loop.add_reader(connection, self.decide, connection, address[0])
            else:
                self.serve(connection)

    def pause(self, error: OSError) -> None:
        """Accept nothing for a while, or never again if the socket was ended."""
        self.loop.remove_reader(self.sock.fileno())
        if error.errno in (errno.EINVAL, errno.EBADF):
            return
        logger.error("No connections are accepted for %g s: %s", PAUSE, error.strerror)
        self.loop.call_later(PAUSE, self.accept_again)

    def accept_again(self) -> None:
        """Accept again after a pause, unless the socket was closed."""
        if self.sock.fileno() >= 0:
            self.loop.add_reader(self.sock.fileno(), self.accept)

    def decide(self, connection: socket.socket, address: str) -> bool:
        """Refuse or serve a connection by its first bytes. Return whether there were any."""
        try:
            data = connection.recv(READ_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self.all.forget(connection)
        elif self.is_served(data):
            self.all.release(connection)
            self.serve(connection)
        else:
            self.refuse(connection, address)
        return True

    def is_served(self, data: bytes) -> bool:
        """Return whether a connection is for Wirekey's own endpoints, or gets its refusal within TLS or HTTP/2."""
        try:
            header = parse_proxy_header(data)
        except ProxyHeaderError:
            header = None
        start = data[header.size :] if header else data
        if start.startswith((TLS_HANDSHAKE, HTTP2_PREFACE)):
            return True
        target = start.split(b"\r\n", 1)[0].split(b" ")[1:2]
        return bool(target) and target[0].partition(b"?")[0] in self.endpoints

    def refuse(self, connection: socket.socket, address: str) -> None:
        """Write the response. The client closes the connection, so that it reads the response before any reset."""
        try:
            connection.recv(READ_BYTES)
            connection.send(RESPONSE)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            self.all.forget(connection)
        else:
            self.loop.add_reader(connection, self.discard, connection)
        self.all.refused(address)

    def discard(self, connection: socket.socket) -> None:
        """Read what a refused client still sends, until it closes the connection."""
        try:
            data = connection.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.all.forget(connection)

    def serve(self, connection: socket.socket) -> None:
        """Hand a connection to mitmproxy."""
        task = self.loop.create_task(self.run(connection))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, connection: socket.socket) -> None:
        """Make a stream of a connection, whose handler then runs in a task of its own."""
        reader = asyncio.StreamReader(loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, self.handle, loop=self.loop)
        try:
            await self.loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError:
            connection.close()
