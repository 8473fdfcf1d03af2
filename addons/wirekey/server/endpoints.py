"""Wirekey's own endpoints: on the console's listener, and on the gateway, whose addon uses `router`."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mitmproxy import ctx

from wirekey.console.router import Router, wrong_method
from wirekey.console.server import Server, ServerLimits
from wirekey.errors import user_message
from wirekey.google.auth_endpoints import AuthEndpoints
from wirekey.google.code_assist.health import health_of, trouble
from wirekey.local_response import local_json
from wirekey.routing.gateway_paths import PREFIXES
from wirekey.server.listeners import gateway_address, listen_error
from wirekey.server.page import live_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.calls.services import Services
    from wirekey.config import Config
    from wirekey.console.live import LivePage
    from wirekey.console.local_request import LocalRequest
    from wirekey.console.reply import LocalHandler, LocalReply
    from wirekey.identity.token_endpoint import TokenEndpoint
    from wirekey.server.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

POLICY_CHECK_INTERVAL = 1.0
"""Seconds between two checks whether the policy decides, however often /ready is requested."""


class Endpoints:
    """The addon that opens the console, and responds to /health, /ready and requests for tokens.

    Its place in the list of addons is after `Lifecycle`. So it starts last and announces the addresses, and it stops
    last: /ready returns 503 while the others stop.
    """

    def __init__(
        self, services: Services, lifecycle: Lifecycle, more: Mapping[str, LocalHandler] | None = None
    ) -> None:
        """`more` is path → handler of further pages of the console."""
        self.services = services
        self.lifecycle = lifecycle
        self.router = Router(
            self.tokens, self.ready, {"/": self.about, **self.auth("gateway")}, self.workers, self.backends
        )
        self.more = more or {}
        self.servers: dict[str, Server] = {}
        self.page: LivePage | None = None
        self._policy_trouble: str | None = None
        self._policy_check: asyncio.Task[None] | None = None
        self._policy_checked = -POLICY_CHECK_INTERVAL

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
        if self._policy_check:
            self._policy_check.cancel()
        if self.page:
            self.page.feed.close()
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
        self._check_policy()
        if config.listen.console is None:
            return
        bounds = ServerLimits(of_one_address=config.limits.connections_per_client)
        more = {**self.more, **self.auth("console"), **self.console_pages(config)}
        router = Router(self.tokens, self.ready, more, self.workers, self.backends)
        server = Server(config.listen.console, router.respond, bounds, config.listen.proxy_protocol)
        if self._open_server(server, "console", config):
            self.servers["console"] = server

    def console_pages(self, config: Config) -> dict[str, LocalHandler]:
        """Build the live page, and return path → handler of what only the console serves."""
        self.page = live_page(self.services, self.lifecycle, config.state, self.ready)
        return dict(self.page.routes())

    def auth(self, listener: str) -> Mapping[str, LocalHandler]:
        """Return path → handler of Google logins, which need the listener's own port."""

        def port() -> int | None:
            address = self.addresses.get(listener)
            return int(address.rpartition(":")[2]) if address else None

        return AuthEndpoints(lambda: self.services.google_logins, port).routes()

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

    def tokens(self) -> TokenEndpoint | None:
        """Return the token endpoint, or None if this process issues no tokens."""
        return self.services.token_endpoint

    def workers(self) -> list[dict[str, object]]:
        """Return the state of each worker, or nothing if there is only this process."""
        return self.lifecycle.worker.states if self.lifecycle.worker else []

    def ready(self) -> dict[str, str | None]:
        """Return part → why it is not ready, or None if it is ready."""
        return {
            "listeners": self._listener_trouble(),
            "audit": self.services.store.refuses(),
            "ca": self._ca_trouble(),
            "policy": self._check_policy(),
        }

    def backends(self) -> dict[str, str | None]:
        """Return backend of Code Assist → why none of its accounts can be used, or None if one can."""
        now, backends = time.monotonic(), self.services.settings.backends
        return {name: trouble(health_of(backend, now)) for name, backend in backends.items()}

    def _listener_trouble(self) -> str | None:
        if self.lifecycle.lock is None or (self.services.is_draining and not self.lifecycle.is_replaced):
            return "Wirekey is stopping"
        if self.lifecycle.is_replaced:
            return None
        if self.lifecycle.running_proxy is None:
            return "the proxy does not listen yet"
        servers = ctx.master.addons.get("proxyserver").servers
        if not any(server.is_running for server in servers):
            return "the proxy does not listen"
        return None

    def _ca_trouble(self) -> str | None:
        authority = self.lifecycle.authority
        now = datetime.now(UTC)
        if authority is None or now >= authority.expires:
            return "the CA has expired, so no client trusts the certificates of the proxy"
        return "the CA is not valid yet" if now < authority.begins else None

    def _check_policy(self) -> str | None:
        """Return the result of the last check, and start another one: an OPA server may take long to respond."""
        now = time.monotonic()
        is_due = now - self._policy_checked >= POLICY_CHECK_INTERVAL
        if is_due and (self._policy_check is None or self._policy_check.done()):
            self._policy_checked = now
            self._policy_check = asyncio.create_task(self._ask_policy())
        return self._policy_trouble

    async def _ask_policy(self) -> None:
        self._policy_trouble = await self.services.policy.unavailable_reason()
