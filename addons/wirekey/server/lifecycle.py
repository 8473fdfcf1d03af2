"""The entrance: opens the house when mitmproxy starts, has it kept current, closes it at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import secrets
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
from mitmproxy import ctx, exceptions

from wirekey import config as configuration
from wirekey.audit.store import AuditStore
from wirekey.ca import authority
from wirekey.calls import settings
from wirekey.errors import user_message
from wirekey.identity import private_file
from wirekey.identity.agents import AgentStore
from wirekey.providers import PROVIDERS
from wirekey.server import listeners, memory, options
from wirekey.server.config_checks import check_file_access, check_implemented
from wirekey.server.gateway_certificate import Certificate, IssuedCertificate
from wirekey.server.policy_engine import policy_engine
from wirekey.server.reload import Reloader
from wirekey.server.runtime import RunningProxy
from wirekey.server.state_lock import StateLock
from wirekey.server.token_service import TokenService
from wirekey.wire.install import install
from wirekey_simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mitmproxy.addonmanager import Loader

    from wirekey.ca.authority import Authority
    from wirekey.calls.services import Services
    from wirekey.config import Config

logger = logging.getLogger(__name__)


class Lifecycle:
    def __init__(self, services: Services, config: Config | None = None, simulator: bool | None = None) -> None:
        self.services = services
        self.config = config
        # Before anything else: a change made meanwhile must not be missed.
        self.read_first = config.fingerprint() if config else ""
        self.started_with: Config | None = None
        self.simulator_wanted = simulator
        self.simulator: Simulator | None = None
        self.simulator_keys: dict[str, str] = {}
        self.lock: StateLock | None = None
        self.authority: Authority | None = None
        self.token_service: TokenService | None = None
        self.reloader = Reloader(self)
        self.opening = False
        self.opened = False
        self.listening = False
        self.settled: dict[str, Any] = {}
        """mitmproxy's options that may not change any more."""
        self.running_proxy: RunningProxy | None = None
        self.on_started: Callable[[Lifecycle], None] = lambda _: None

    def load(self, loader: Loader) -> None:
        loader.add_option("wirekey", str, "", "Configuration file of Wirekey; ./wirekey.yaml if there is one.")
        loader.add_option(options.KEEP_ANSWERS, bool, False, "Keep what models answer, for mitmweb and dumps to show.")

    def configure(self, updated: Collection[str]) -> None:
        if self.opened:
            options.check(updated, self.settled)
        elif not self.opening:  # which sets options, and so comes here once more
            self.prepare()

    # At the start.

    def prepare(self) -> None:
        """Take the state, open what is in it, make the CA, set mitmproxy's options: before any port is bound.

        Raises OptionsError with all reasons.
        """
        self.opening = True
        listeners.cancel_early_start()
        try:
            install()
            self.start()
        except Exception as error:
            if (why := user_message(error)) is None:
                raise
            raise exceptions.OptionsError(f"Wirekey cannot start: {why}") from None
        finally:
            self.opening = False

    def start(self) -> None:
        if self.config is None:
            path = Path(ctx.options.wirekey) if ctx.options.wirekey else None
            self.config = configuration.load(path, os.environ)
        config = self.started_with = self.config
        self.reloader.fingerprint = self.read_first or config.fingerprint()
        check_implemented(config)
        check_file_access(config)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the keys that are read next
        first = settings.build(config)
        with contextlib.ExitStack() as undone:
            lock = StateLock(config.state)
            undone.callback(lock.release)
            RunningProxy.remove(config.state)  # of a process that was killed
            listeners.refuse_taken(config)
            self.authority = authority.ensure(config.certs, list(first.hosts))
            # Not before: with it mitmproxy's own CA would be made where there is none.
            options.enforce(str(config.certs))
            roots = self.write_upstream_roots()
            changes: dict[str, object] = {"confdir": str(config.certs), "ssl_verify_upstream_trusted_ca": str(roots)}
            if config.listen.gateway:
                files = config.listen.gateway_tls
                self.services.gateway_certificate = Certificate(files) if files else IssuedCertificate(self.authority)
            changes["mode"] = listeners.modes(config)
            ctx.options.update(**changes)
            self.open_services(config, undone)
            # Nothing fails any more.
            undone.pop_all()
        self.services.settings, self.lock = first, lock
        self.warn_of_hosts(first.hosts)
        self.settled = options.settled()
        self.opened = True

    def open_services(self, config: Config, undone: contextlib.ExitStack) -> None:
        """Put into the house what decides and records, and end it with `undone`."""
        services = self.services
        services.spool_folder = config.state / "tmp"
        services.spool_folder.mkdir(mode=0o700, exist_ok=True)
        services.agents = AgentStore(config.state / "agents.json")
        self.token_service = TokenService.prepare(
            config.identity.jwt, services.agents, config.state, config.upstream_ca_file
        )
        self.token_service.open(services)
        services.policy = policy_engine(config)
        undone.callback(services.policy.close)
        store = AuditStore(config.state / "audit.db", durability=config.audit.durability)
        store.start()  # the last, as its thread takes a while to end
        services.store = store

    def state_folder(self) -> Path:
        assert self.started_with
        return self.started_with.state

    def warn_of_hosts(self, hosts: Collection[str]) -> None:
        assert self.authority
        for host in self.authority.covers(list(hosts)):
            logger.warning(
                "the CA does not cover %s, so clients will not trust it there: run `wirekey ca renew`, let the clients "
                "trust the new root, and start Wirekey anew",
                host,
            )

    async def running(self) -> None:
        if not self.opened:
            return  # the reason is logged, and mitmproxy ends for it
        try:
            await self.listen()
        except Exception as error:
            # Logged before mitmproxy's own check for start-up errors, which then ends the process.
            logger.error("Wirekey cannot start: %s", user_message(error) or error)  # noqa: TRY400  # a sentence, not a traceback

    async def listen(self) -> None:
        if self.wants_simulator():
            # Before there are calls: none may be told that its provider has no key.
            await self.start_simulator(self.state_folder())
            self.write_upstream_roots()
        await listeners.listen_as_configured()
        self.listening = True

    def announce(self, console: str | None) -> None:
        """Say where Wirekey runs, now that all of its listeners listen; from here on changes are followed.

        `console`: HOST:PORT; None: not there. Raises OSError.
        """
        assert self.config
        simulated = self.services.settings.simulated
        running = RunningProxy(os.getpid(), listeners.listening_at(), simulated, listeners.gateway_at(), console)
        running.write(self.state_folder())
        self.running_proxy = running
        listeners.warn_of_strangers(self.config)
        self.on_started(self)
        memory.settle()
        self.reloader.begin()

    def wants_simulator(self) -> bool:
        assert self.config
        if self.simulator_wanted is not None:
            return self.simulator_wanted
        return not (self.config.explicit or self.config.has_any_key)

    async def start_simulator(self, state: Path) -> None:
        self.simulator_keys = {name: f"sim-{secrets.token_hex(16)}" for name in PROVIDERS}
        keys = {name: [key] for name, key in self.simulator_keys.items()}
        self.simulator = Simulator(certificate_folder=state / "simulator", keys=keys)
        await self.simulator.start()
        self.services.settings = settings.simulated(self.services.settings, self.simulator.port, self.simulator_keys)

    def write_upstream_roots(self) -> Path:
        """Write the roots that upstream certificates are verified against: public ones and those configured.

        Raises ConfigError, OSError.
        """
        assert self.config
        files = [Path(certifi.where())]
        if self.config.upstream_ca_file:
            files.append(self.config.upstream_ca_file)
        if self.simulator:
            files.append(Path(self.simulator.ca_file))
        bundle = self.state_folder() / "upstream-roots.pem"
        private_file.replace(bundle, b"\n".join(file.read_bytes() for file in files))
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(bundle)
        except ssl.SSLError as error:
            message = f"{self.config.upstream_ca_file} holds a certificate that cannot be read. Name a PEM file of a CA"
            problem = configuration.Problem(self.config.source, None, "upstream_ca_file", message)
            raise configuration.ConfigError([problem]) from error
        return bundle

    # At the end.

    async def done(self) -> None:
        await self.reloader.end()
        if not self.lock or not self.opened:
            return
        lock, self.lock = self.lock, None
        await listeners.stop_listening()
        self.services.calls.interrupt_all()
        self.services.policy.close()
        await self.services.store.close()
        await self.services.upstream_connections.close()
        if self.simulator:
            await self.simulator.stop()
        assert self.started_with
        RunningProxy.remove(self.started_with.state)
        lock.release()
