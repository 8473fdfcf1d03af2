"""Our own endpoints: on `listen.console`, and on the gateway, whose station asks `desk`."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mitmproxy import ctx

from wirekey.console.router import Router
from wirekey.console.server import Server, ServerLimits
from wirekey.errors import user_message
from wirekey.server.listeners import gateway_at, sentence
from wirekey.server.page import live_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.calls.services import Services
    from wirekey.config import Config
    from wirekey.console.live import LivePage
    from wirekey.console.reply import LocalHandler
    from wirekey.identity.token_endpoint import TokenEndpoint
    from wirekey.server.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

ASKS_EVERY = 1.0
"""Seconds between two questions to the policy whether it decides, however often /ready is asked."""


class Endpoints:
    """Opens after the entrance, which is then told where all listen; closes after it: /ready says 503 meanwhile."""

    def __init__(
        self, services: Services, lifecycle: Lifecycle, more: Mapping[str, LocalHandler] | None = None
    ) -> None:
        """`more`: path → what else the console answers."""
        self.services = services
        self.lifecycle = lifecycle
        self.router = Router(self.tokens, self.ready)
        self.more = more or {}
        self.servers: dict[str, Server] = {}
        self.page: LivePage | None = None
        self._deciding: str | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked = -ASKS_EVERY

    async def running(self) -> None:
        if not self.lifecycle.listening:
            return
        try:
            self.open()
            self.lifecycle.announce(self.addresses.get("console"))
        except OSError as error:
            # Logged before mitmproxy's own check for start-up errors, which then ends the process.
            logger.error("Wirekey cannot start: %s", user_message(error))  # noqa: TRY400  # a sentence, not a traceback

    async def done(self) -> None:
        if self._asking:
            self._asking.cancel()
        if self.page:
            self.page.feed.close()
        servers, self.servers = self.servers, {}
        for server in servers.values():
            await server.close()

    @property
    def addresses(self) -> dict[str, str]:
        """Listener → HOST:PORT as really listened on, of those that are."""
        found = {name: server.address for name, server in self.servers.items() if server.is_open}
        gateway = gateway_at()
        return found | {"gateway": gateway} if gateway else found

    def open(self) -> None:
        """Listen where the configuration says. Raises OSError: a sentence."""
        config = self.lifecycle.started_with
        assert config
        self._ask_policy()
        if config.listen.console is None:
            return
        bounds = ServerLimits(of_one_address=config.limits.connections_per_client)
        router = Router(self.tokens, self.ready, {**self.more, **self.on_console(config)})
        server = Server(config.listen.console, router.answer, bounds)
        if self._opened(server, "console", config):
            self.servers["console"] = server

    def on_console(self, config: Config) -> dict[str, LocalHandler]:
        """Give what only the console answers, by path."""
        self.page = live_page(self.services, self.lifecycle, config.state, self.ready)
        return dict(self.page.routes())

    def _opened(self, server: Server, name: str, config: Config) -> bool:
        try:
            server.open()
        except OSError as error:
            words = sentence(error, str(server.place), f"listen.{name}", "wirekey.yaml")
            if name in config.listen.model_fields_set:
                raise OSError(error.errno, words) from error
            logger.warning("%s Until then Wirekey runs without it.", words)
            return False
        return True

    def tokens(self) -> TokenEndpoint | None:
        return self.services.token_endpoint

    def ready(self) -> dict[str, str | None]:
        """Give, by part, why it is not ready; None: it is."""
        return {
            "listeners": self._listening(),
            "audit": self.services.store.refuses(),
            "ca": self._certifying(),
            "policy": self._ask_policy(),
        }

    def _listening(self) -> str | None:
        if self.lifecycle.lock is None:
            return "Wirekey is ending"
        if self.lifecycle.running_proxy is None:
            return "the proxy does not listen yet"
        servers = ctx.master.addons.get("proxyserver").servers
        if not any(server.is_running for server in servers):
            return "the proxy does not listen"
        return None

    def _certifying(self) -> str | None:
        authority = self.lifecycle.authority
        now = datetime.now(UTC)
        if authority is None or now >= authority.expires:
            return "the CA has expired, so no client trusts what the proxy shows"
        return "the CA is not valid yet" if now < authority.begins else None

    def _ask_policy(self) -> str | None:
        """Give what the policy said last, and ask it anew: an OPA server may take its time."""
        now = time.monotonic()
        if now - self._asked >= ASKS_EVERY and (self._asking is None or self._asking.done()):
            self._asked = now
            self._asking = asyncio.create_task(self._hear_policy())
        return self._deciding

    async def _hear_policy(self) -> None:
        self._deciding = await self.services.policy.trouble()
