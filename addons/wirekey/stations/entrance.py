"""The entrance: opens the house when mitmproxy starts, keeps it current, closes it at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
from mitmproxy import ctx, exceptions

from wirekey import config as configuration
from wirekey.audit.store import AuditStore
from wirekey.ca import authority
from wirekey.identity.agents import AgentBook
from wirekey.providers import PROVIDERS
from wirekey.runtime import RunningProxy
from wirekey.state_lock import StateLock
from wirekey.simulator.server import Simulator
from wirekey.stations import options
from wirekey.stations.opening import settings_from, simulated
from wirekey.wire.install import install

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mitmproxy.addonmanager import Loader

    from wirekey.config import Config
    from wirekey.stations.house import House

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.5
"""How often agents and configuration are looked at for changes; a change must count within 2 s."""


class Entrance:
    def __init__(self, house: House, config: Config | None = None, simulator: bool | None = None) -> None:
        self.house = house
        self.config = config
        self.simulator_wanted = simulator
        self.simulator: Simulator | None = None
        self.lock: StateLock | None = None
        self.refreshing: asyncio.Task[None] | None = None
        self.opened = False
        self.running_proxy: RunningProxy | None = None
        self.announce: Callable[[Entrance], None] = lambda _: None

    def load(self, loader: Loader) -> None:
        loader.add_option("wirekey", str, "", "Configuration file of Wirekey; ./wirekey.yaml if there is one.")

    def configure(self, updated: Collection[str]) -> None:
        if not self.opened:
            self.prepare()
        else:
            options.check(updated)

    def prepare(self) -> None:
        """Read the configuration, make the CA, set mitmproxy's options. Raises OptionsError with all reasons."""
        install()
        try:
            if self.config is None:
                path = Path(ctx.options.wirekey) if ctx.options.wirekey else None
                self.config = configuration.load(path, os.environ)
            self.house.settings = settings_from(self.config)
            hosts = self.house.settings.hosts
            certificates = authority.ensure(self.config.certs, list(hosts))
        except (configuration.ConfigError, authority.CAError) as error:
            raise exceptions.OptionsError(f"Wirekey cannot start: {error}") from error
        for host in certificates.covers(list(hosts)):
            logger.warning("the CA does not cover %s: run `wirekey ca renew` and trust the new root", host)
        self.opened = True
        options.enforce()
        changes: dict[str, object] = {"confdir": str(self.config.certs)}
        if ctx.options.mode == ["regular"] and ctx.options.listen_port is None:
            changes["mode"] = [f"regular@{self.config.listen.forward}"]
        ctx.options.update(**changes)

    async def running(self) -> None:
        try:
            await self.open()
        except Exception as error:
            # Logged before mitmproxy's own check for start-up errors, which then ends the process.
            logger.error("Wirekey cannot start: %s", error)  # noqa: TRY400  # a sentence, not a traceback

    async def open(self) -> None:
        assert self.config
        state = self.config.state
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = StateLock(state)
        self.house.book = AgentBook(state / "agents.json")
        self.house.store = AuditStore(state / "audit.db", durability=self.config.audit.durability)
        self.house.store.start()
        if self.wants_simulator():
            await self.start_simulator(state)
        self.trust_upstreams(state)
        self.running_proxy = RunningProxy(os.getpid(), listening_at(), self.house.settings.simulated)
        self.running_proxy.write(state)
        self.announce(self)
        self.refreshing = asyncio.create_task(self.keep_current())

    def wants_simulator(self) -> bool:
        assert self.config
        if self.simulator_wanted is not None:
            return self.simulator_wanted
        return not (self.config.explicit or self.config.has_any_key)

    async def start_simulator(self, state: Path) -> None:
        keys = {name: f"sim-{secrets.token_hex(16)}" for name in PROVIDERS}
        self.simulator = Simulator(
            certificate_folder=state / "simulator", keys={name: [key] for name, key in keys.items()}
        )
        await self.simulator.start()
        self.house.settings = simulated(self.house.settings, self.simulator.port, keys)

    def trust_upstreams(self, state: Path) -> None:
        """Write the roots that upstream certificates are verified against: public ones and those configured."""
        assert self.config
        files = [Path(certifi.where())]
        if self.config.upstream_ca:
            files.append(self.config.upstream_ca)
        if self.simulator:
            files.append(Path(self.simulator.ca_file))
        bundle = state / "upstream-roots.pem"
        bundle.write_bytes(b"\n".join(file.read_bytes() for file in files))
        ctx.options.update(ssl_verify_upstream_trusted_ca=str(bundle))

    async def keep_current(self) -> None:
        """Follow the agents' file and the configuration; a bad new state keeps the old one and says so."""
        assert self.config
        fingerprint = self.config.fingerprint()
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            self.house.book.refresh()
            if (latest := self.config.fingerprint()) == fingerprint:
                continue
            fingerprint = latest
            try:
                self.reload()
            except configuration.ConfigError as error:
                logger.error("the changed configuration is not used, the former one stays: %s", error)  # noqa: TRY400

    def reload(self) -> None:
        assert self.config
        config = configuration.load(self.config.source, os.environ)
        settings = settings_from(config, self.house.settings)
        if self.house.settings.simulated:
            return
        self.house.settings, self.config = settings, config
        logger.info("the changed configuration is in use")

    async def done(self) -> None:
        if self.refreshing:
            self.refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.refreshing
        if not self.lock:
            return
        self.house.interrupt_all()
        await self.house.store.close()
        if self.simulator:
            await self.simulator.stop()
        assert self.config
        RunningProxy.remove(self.config.state)
        self.lock.release()


def listening_at() -> str:
    """HOST:PORT of the first listener, as the system gave it."""
    servers = ctx.master.addons.get("proxyserver").servers
    host, port, *_ = next(address for server in servers for address in server.listen_addrs)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
