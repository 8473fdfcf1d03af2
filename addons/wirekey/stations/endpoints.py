"""Our own endpoints: on `listen.console`, and on `listen.gateway` until the gateway itself is there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mitmproxy import ctx

from wirekey.console.certificate import Certificate, CertificateError
from wirekey.console.desk import Desk
from wirekey.console.server import Bounds, Server
from wirekey.identity.jwt_keys import SigningKeys, SigningKeysError
from wirekey.identity.jwt_tokens import KEYS_FILE
from wirekey.identity.token_endpoint import TokenEndpoint
from wirekey.stations.listeners import sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config
    from wirekey.stations.entrance import Entrance
    from wirekey.stations.house import House

logger = logging.getLogger(__name__)

NAMES = ("gateway", "console")


class Endpoints:
    """Opens after the entrance and closes after it, so that /ready says 503 while calls in flight are ended.

    `policy` says why no policy decides, in words that anyone may read; None: one does, or none is asked for.
    `keys`, where it is set before `open`, are the keys that tokens are signed with.
    """

    def __init__(self, house: House, entrance: Entrance, policy: Callable[[], str | None] = lambda: None) -> None:
        self.house = house
        self.entrance = entrance
        self.policy = policy
        self.keys: SigningKeys | None = None
        self.servers: dict[str, Server] = {}
        self._tokens: TokenEndpoint | None = None

    async def running(self) -> None:
        if not self.entrance.opened:
            return
        try:
            self.open()
        except (OSError, CertificateError, SigningKeysError) as error:
            # Logged before mitmproxy's own check for start-up errors, which then ends the process.
            reason = error.strerror or error if isinstance(error, OSError) else error
            logger.error("Wirekey cannot start: %s", reason)  # noqa: TRY400  # a sentence, not a traceback

    async def done(self) -> None:
        servers, self.servers = self.servers, {}
        for server in servers.values():
            await server.close()

    @property
    def addresses(self) -> dict[str, str]:
        """Listener → HOST:PORT as really listened on, of those that are."""
        return {name: server.address for name, server in self.servers.items() if server.is_open}

    def open(self) -> None:
        """Listen where the configuration says. Raises OSError, CertificateError and SigningKeysError: sentences."""
        config = self.entrance.started_with
        assert config
        self.tokens()
        files = config.listen.gateway_tls
        tls = Certificate(files).context if files and config.listen.gateway else None
        for name in NAMES:
            place = getattr(config.listen, name)
            if place is None:
                continue
            desk = Desk(self.tokens, self.ready, gateway=name == "gateway")
            bounds = Bounds(of_one_address=config.limits.connections_per_client)
            server = Server(place, desk.answer, tls if name == "gateway" else None, bounds)
            if self._opened(server, name, config):
                self.servers[name] = server

    def _opened(self, server: Server, name: str, config: Config) -> bool:
        try:
            server.open()
        except OSError as error:
            reason = sentence(error, str(server.place), f"listen.{name}", "wirekey.yaml")
            if name in config.listen.model_fields_set:
                raise OSError(error.errno, reason) from error
            logger.warning("%s Until then Wirekey runs without it.", reason)
            return False
        return True

    def tokens(self) -> TokenEndpoint | None:
        """Give who gives out tokens, by the settings as they are now; None where another issuer does."""
        config = self.entrance.config
        assert config
        settings = config.identity.jwt
        if not settings.issues:
            return None
        if self.keys is None:
            assert self.entrance.started_with
            self.keys = SigningKeys(self.entrance.started_with.state / KEYS_FILE, settings.lifetime)
        self.keys.lifetime = settings.lifetime
        self.keys.refresh()
        if self._tokens is None:
            self._tokens = TokenEndpoint(settings, self.keys, self.house.book)
        self._tokens.settings = settings
        return self._tokens

    def ready(self) -> dict[str, str | None]:
        """Give, by part, why it is not ready; None: it is."""
        return {
            "listeners": self._listening(),
            "audit": self.house.store.refuses(),
            "ca": self._certifying(),
            "policy": self.policy(),
        }

    def _listening(self) -> str | None:
        if self.entrance.lock is None:
            return "Wirekey is ending"
        if self.entrance.running_proxy is None:
            return "the proxy does not listen yet"
        servers = ctx.master.addons.get("proxyserver").servers
        if not any(server.is_running for server in servers):
            return "the proxy does not listen"
        return None

    def _certifying(self) -> str | None:
        authority = self.entrance.authority
        now = datetime.now(UTC)
        if authority is None or now >= authority.expires:
            return "the CA has expired, so no client trusts what the proxy shows"
        return "the CA is not valid yet" if now < authority.begins else None
