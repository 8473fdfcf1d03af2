"""The simulator's server: HTTP/1.1 and HTTP/2, over TLS or cleartext, in one asyncio event loop.

The host name, else path and key, decide the provider (hosts.py). A header, a script or the model name decides the
behaviour (behaviour.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import structlog

from wirekey_simulator.certificate import prepare_certificate
from wirekey_simulator.connection import SimulatorConnection
from wirekey_simulator.delivery import Gate, deliver, deliver_at_once
from wirekey_simulator.dispatch import response_for
from wirekey_simulator.exchange import Seen, SimulatedRequest, SimulatedResponse, json_response
from wirekey_simulator.hosts import provider_of
from wirekey_simulator.http1 import Http1
from wirekey_simulator.http2 import Http2
from wirekey_simulator.script import PREFIX, Script, control
from wirekey_simulator.state import State
from wirekey_simulator.two_way import TwoWayExchange
from wirekey_simulator.websocket import Upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
    from pathlib import Path

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.delivery import Wire
    from wirekey_simulator.sigv4 import Account

SEEN_REQUESTS = 10_000
SEEN_BODY_BYTES = 64 << 10
GOODBYE = 1.0
"""Seconds that a closing TLS connection waits for the peer's close_notify."""
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound to


class Simulator:
    """Listens from `start()` to `stop()`, in the event loop that runs them.

    `keys`: good keys by provider; without it, any key in the right place is good. `aws_credentials`: by access key id,
    the secrets (or accounts with a session token) whose signatures are good. `seen`: the last ten thousand requests,
    oldest first. `protocols`: what ALPN offers, best first.
    """

    def __init__(
        self,
        certificate_folder: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: bool = True,
        keys: Mapping[str, Collection[str]] | None = None,
        accept_sigv4_unverified: bool = False,
        aws_credentials: Mapping[str, str | Account] | None = None,
        protocols: Collection[str] = ("h2", "http/1.1"),
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.keys = keys or {}
        self.accept_sigv4_unverified = accept_sigv4_unverified
        self.aws_credentials = aws_credentials or {}
        self.protocols = protocols
        self.certificate_folder = certificate_folder
        self.ca_file = certificate_folder / "simulator-ca.pem"
        self.seen: deque[Seen] = deque(maxlen=SEEN_REQUESTS)
        self.state = State()
        self.script = Script()
        self.gate = Gate()
        self.malformed = 0
        """Number of connections that sent something other than HTTP."""
        self.requested_names: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()
        self._arrived = 0
        self._opened = 0
        self._connections: set[SimulatorConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Return the base URL, without a path."""
        host = ANY_HOST.get(self.host) or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises OSError if the port is in use or the certificate cannot be written."""
        secured = self._tls_context() if self.tls else None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: SimulatorConnection(self, lambda connection, is_http2: (Http2 if is_http2 else Http1)(connection)),
            self.host,
            self.port,
            ssl=secured,
            backlog=1024,
            ssl_shutdown_timeout=GOODBYE if secured else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.state.base_url = self.url

    async def stop(self) -> None:
        """Close the listener and break off the open responses."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), GOODBYE)
        self._server = None

    def reset(self) -> None:
        """Clear what arrived, what is scripted and what is stored. Release waiting streams."""
        self.seen.clear()
        self.script.clear()
        self.state.forget()
        self.gate.open()

    def exchange(self, request: SimulatedRequest, wire: Wire) -> asyncio.Task[None] | None:
        """Respond to a request, at once or in the task that is returned."""
        if request.path.startswith(PREFIX):
            response = control(self, request)
            wire.whole(response.status, response.headers, response.body)
            return None
        provider = provider_of(request, self.keys)
        seen = self._note(request, provider)
        if provider is None:
            response = json_response({"error": f"neither the host nor the path {request.path} is a provider's"}, 404)
            wire.whole(404, response.headers, response.body)
            seen.status, seen.outcome = 404, "completed"
            return None
        response, behaviour = response_for(self, provider, request)
        seen.status = response.status
        if request.streams and response.status == 200:
            two_way = wire.two_way = TwoWayExchange(request, behaviour, seen, self.aws_credentials)
            return self._start(two_way.play(wire, self.gate))
        if isinstance(response, Upgrade) and not (behaviour.rubbish or behaviour.disown):
            assert isinstance(wire, Http1)
            if behaviour.headers_delay:
                return self._start(self._upgrade_later(response, behaviour, wire, seen))
            wire.upgrade(response, behaviour, seen)
            return None
        if deliver_at_once(response, behaviour, wire, seen):
            return None
        return self._start(self._play(response, behaviour, wire, seen))

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _upgrade_later(self, response: Upgrade, behaviour: Behaviour, wire: Http1, seen: Seen) -> None:
        await asyncio.sleep(behaviour.headers_delay)
        wire.upgrade(response, behaviour, seen)

    async def _play(self, response: SimulatedResponse, behaviour: Behaviour, wire: Wire, seen: Seen) -> None:
        try:
            await deliver(response, behaviour, wire, seen, self.gate)
        except Exception as error:
            # A response that failed half-way must not look complete to its client.
            structlog.get_logger().error(
                "simulator_failed", error=type(error).__name__, target=seen.target.partition("?")[0]
            )
            seen.outcome = "fault"
            wire.reset()

    def responds_early(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether a request with these headers gets its response before its end."""
        return self.script.responds_early(headers)

    def connection_opened(self, connection: SimulatorConnection) -> int:
        """Note a connection. Return its number, from 1."""
        self._connections.add(connection)
        self._opened += 1
        return self._opened

    def connection_closed(self, connection: SimulatorConnection) -> None:
        """Remove a connection."""
        self._connections.discard(connection)

    def note_malformed(self, _connection: SimulatorConnection) -> None:
        """Count a connection that sent something other than HTTP."""
        self.malformed += 1

    def _note(self, request: SimulatedRequest, provider: str | None) -> Seen:
        self._arrived += 1
        seen = Seen(
            number=self._arrived,
            method=request.method,
            authority=request.authority,
            target=request.target,
            headers=request.headers,
            body=request.body[:SEEN_BODY_BYTES],
            size=request.size,
            sha256=request.sha256,
            protocol=request.protocol,
            tls=request.tls,
            sni=request.sni,
            connection=request.connection,
            provider=provider,
        )
        self.seen.append(seen)
        return seen

    def _tls_context(self) -> ssl.SSLContext:
        server, self.ca_file = prepare_certificate(self.certificate_folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server)
        context.set_alpn_protocols(list(self.protocols))
        context.sni_callback = self._note_name
        return context

    def _note_name(self, secured: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name and isinstance(secured, ssl.SSLObject):
            self.requested_names[secured] = name


async def run_simulator(
    certificate_folder: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: bool = True,
    announce: Callable[[Simulator], None] = lambda _: None,
) -> None:
    """Run until cancelled. Calls `announce` once it listens."""
    simulator = Simulator(certificate_folder, host, port, tls=tls)
    await simulator.start()
    try:
        announce(simulator)
        await asyncio.Event().wait()
    finally:
        await simulator.stop()
