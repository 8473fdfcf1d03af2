"""Wirekey's own endpoints: on the console's listener, and on the gateway, whose addon serves them there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.core.endpoints.routes import health_routes, wrong_method
from wirekey.core.errors import user_message
from wirekey.core.local_response import local_json
from wirekey.core.routing.gateway_paths import PREFIXES
from wirekey.feature_registry import parts
from wirekey.server.feature_parts import AddedEndpoints
from wirekey.server.listeners import gateway_address, listen_error
from wirekey.server.readiness import Readiness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.config import Config
    from wirekey.core.calls.services import Services
    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.endpoints.reply import LocalHandler, LocalReply
    from wirekey.core.endpoints.server import Server
    from wirekey.server.lifecycle import Lifecycle

logger = logging.getLogger(__name__)


class Endpoints:
    """The addon that opens the console, and responds to /health and /ready.

    Its place in the list of addons is after `Lifecycle`. So it starts last and announces the addresses, and it stops
    last: /ready returns 503 while the others stop.
    """

    def __init__(
        self, services: Services, lifecycle: Lifecycle, more: Callable[[], Mapping[str, LocalHandler]] = dict
    ) -> None:
        """`more` returns path → handler of further pages of the console, when it opens."""
        self.services = services
        self.lifecycle = lifecycle
        self.readiness = Readiness(services, lifecycle)
        self.at_gateway = {"/": self.about, **self.routes("gateway")}
        """Path → handler of the gateway's own endpoints."""
        self.more = more
        self.servers: dict[str, Server] = {}

    async def running(self) -> None:
        """Open the console and announce the addresses, if the other listeners are open."""
        if not self.lifecycle.listening:
            return
        try:
            self.open()
            self.lifecycle.announce(self.addresses.get("console"))
        except OSError as error:
            # mitmproxy checks for logged errors after this hook, and then exits.
            logger.error("Wirekey cannot start: %s", user_message(error))  # noqa: TRY400  # no traceback

    async def done(self) -> None:
        """Close the console."""
        await self.readiness.end()
        servers, self.servers = self.servers, {}
        for server in servers.values():
            await server.close()

    @property
    def addresses(self) -> dict[str, str]:
        """Listener → HOST:PORT with the port that is really used, for the open ones of console and gateway."""
        found = {name: server.address for name, server in self.servers.items() if server.is_open}
        gateway = gateway_address()
        return found | {"gateway": gateway} if gateway else found

    def open(self) -> None:
        """Open the console at the configured address. Raises OSError with a message for people."""
        config = self.lifecycle.started_with
        assert config
        self.readiness.begin()
        if config.listen.console is None:
            return
        from wirekey.core.endpoints.server import Server, ServerLimits  # tornado takes 4 MiB

        bounds = ServerLimits(of_one_address=config.limits.connections_per_client)
        routes = {**self.routes("console"), **self.more()}
        server = Server(config.listen.console, routes, bounds, config.listen.proxy_protocol)
        if self._open_server(server, "console", config):
            self.servers["console"] = server

    def routes(self, listener: str) -> dict[str, LocalHandler]:
        """Return path → handler of what the console and the gateway serve. Some handlers need its port."""

        def port() -> int | None:
            address = self.addresses.get(listener)
            return int(address.rpartition(":")[2]) if address else None

        routes = dict(health_routes(self.readiness.report))
        for part in parts(AddedEndpoints):
            routes |= part.routes(lambda: self.services.opened, port)
        return routes

    def _open_server(self, server: Server, name: str, config: Config) -> bool:
        worker = self.lifecycle.worker
        if worker and name not in worker.sockets:
            return False  # the supervisor has logged why
        try:
            server.open(worker.sockets[name] if worker else ())
        except OSError as error:
            message = listen_error(error, str(server.place), f"listen.{name}", "wirekey.yaml")
            if name in config.listen.model_fields_set:
                raise OSError(error.errno, message) from error
            logger.warning("%s Until then Wirekey runs without the %s.", message, name)
            return False
        return True

    def about(self, request: LocalRequest) -> LocalReply:
        """Return what runs at the gateway, for a client that checks whether it responds."""
        about = {
            "name": "wirekey",
            "status": "ok",
            "simulated": self.services.settings.simulated,
            "base_urls": ["/v1", "/v1beta", "/model", *PREFIXES],
        }
        return wrong_method(request) or local_json(200, about)
