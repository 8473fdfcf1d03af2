"""Applies changes of agents, keys, configuration and policies while Wirekey runs. A bad change is not applied."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Protocol

from wirekey import config as configuration
from wirekey.config.feature_settings import AddedSettings
from wirekey.core.calls import settings
from wirekey.core.errors import user_message
from wirekey.core.metering.own_prices import use_own_prices
from wirekey.feature_registry import parts
from wirekey.server import listeners, memory
from wirekey.server.config_checks import check_files
from wirekey.server.feature_parts import (
    RegularCheck,
    ServiceStart,
    begin_in_event_loop,
    begin_services,
    prepare_services,
    with_backends,
)
from wirekey.server.installation import master_secrets
from wirekey.server.moved_upstreams import destinations, moved_upstreams
from wirekey.server.policy_engine import start_policy_engine
from wirekey.server.start_warnings import warn_of_uncovered_hosts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from wirekey.config import Config
    from wirekey.config.file_identity import Identities
    from wirekey.core.ca.authority import Authority
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.settings import Settings
    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.core.identity.installation_keys import MasterSecret
    from wirekey.server.feature_parts import ReplacedService
    from wirekey.server.moved_upstreams import Destinations, MovedUpstream
    from wirekey.server.revocations import Revocations
    from wirekey.server.worker import RunningSimulator

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.5
"""Seconds between two checks for changes. A change must be in effect within 2 s."""

FIXED_AT_START = (
    "listen",
    "state",
    "certs",
    "log",
    "upstream_ca_file",
    "audit",
    "replica",
)
"""Settings of the core that take effect only at a restart.

So do `secrets`, whose values are compared and not their references.
"""


class ReloadedProcess(Protocol):
    """The process whose settings a reload replaces."""

    services: Services
    config: Config | None
    started_with: Config | None
    authority: Authority | None
    revocations: Revocations | None
    simulator: RunningSimulator | None
    simulator_keys: dict[str, str]
    simulator_wanted: bool | None

    def proxy_for(self, host: str, port: int) -> UpstreamProxy | None:
        """Return the proxy through which Wirekey's own requests reach a host, or None."""


class Reloader:
    """Checks the files of agents, configuration and policy for changes, and applies them to the running services.

    It runs from `begin` to `end`. A change of the configuration is applied as a whole, or not at all.
    """

    def __init__(self, lifecycle: ReloadedProcess) -> None:
        self.lifecycle = lifecycle
        self.services = lifecycle.services
        self.fingerprint = ""
        """The fingerprint of the configuration files when they were last read, even if they were not valid."""
        self.rejected: str | None = None
        """Why the changed configuration is not in use, while the previous one is, or None."""
        self.identities: Identities = {}
        """The identities of the configuration files at the start."""
        self.began_with: Destinations = {}
        """The destinations of calls at the start."""
        self.tasks: list[asyncio.Task[None]] = []
        self.regular_checks = [part.run for part in parts(RegularCheck)]
        self._reloading = asyncio.Lock()
        """Keeps two reloads from overtaking each other."""

    def begin(self) -> None:
        """Start to check for changes."""
        self.began_with = destinations(self.services.settings)
        # In two tasks, as trying a new policy can take long, and a revoked agent must not wait for that.
        checks = (self._reload_agents, self._reload_configuration)
        self.tasks = [asyncio.create_task(self._repeat(check)) for check in checks]
        self.tasks.append(asyncio.create_task(memory.return_free_memory()))
        self.tasks.append(asyncio.create_task(self.services.usage_limits.maintain()))
        if self.lifecycle.revocations:
            self.tasks.append(asyncio.create_task(self.lifecycle.revocations.follow()))

    def read_again(self) -> None:
        """Have the next check read the configuration again, even if its files look as before."""
        logger.info("The configuration is read again.")
        self.fingerprint = ""

    async def end(self) -> None:
        """Stop to check for changes, and wait until the current check has stopped."""
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def reload(self) -> None:
        """Read the configuration and apply it, except for the settings that need a restart.

        Slow steps run outside the event loop, so that calls continue. Raises UserError, OSError; then nothing has
        changed.
        """
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        lifecycle, services = self.lifecycle, self.services
        assert lifecycle.config
        assert lifecycle.started_with
        previous, was_required = lifecycle.config, services.settings.identity_required
        config, fingerprint = await asyncio.to_thread(read, previous.source)
        await asyncio.to_thread(check_files, config, self.identities)
        masters = await asyncio.to_thread(master_secrets, config)
        with contextlib.ExitStack() as undo:
            policy = services.policy
            if config.effective_policy != previous.effective_policy:
                policy = await start_policy_engine(config, lifecycle.proxy_for)
                undo.callback(policy.close)
            built, prepared = await asyncio.to_thread(self._build, config, services.settings)
            await services.usage_limits.prepare_reload(config)
            if lifecycle.simulator:
                built = settings.simulated(built, lifecycle.simulator.port, lifecycle.simulator_keys)
            undo.pop_all()
        # From here on nothing waits and nothing fails, so that no call sees half of a change.
        sent_to = destinations(services.settings)
        before, services.policy, services.settings = services.policy, policy, built
        use_own_prices(built.prices)
        services.upstream_connections.drain()  # their addresses may no longer be allowed
        begin_services(services, prepared)
        begin_in_event_loop(services.opened)
        lifecycle.config, self.fingerprint = config, fingerprint
        if policy is not before:
            before.close()
        self._log_reload(config, built, masters)
        self._report_moves(sent_to)
        if was_required:
            listeners.warn_if_open(config)

    def _build(self, config: Config, previous: Settings) -> tuple[Settings, list[ReplacedService]]:
        start = self.lifecycle.started_with
        assert start
        services = self.services
        prepared = prepare_services(
            ServiceStart(config, start, services.agents, self.lifecycle.proxy_for, services.opened)
        )
        opened = services.opened
        for service in prepared:
            opened = opened.plus(service)
        # After the slow steps, as the new settings take over which keys cool down.
        return with_backends(settings.build(config, previous), config, opened), prepared

    def _log_reload(self, config: Config, built: Settings, masters: tuple[MasterSecret, ...]) -> None:
        lifecycle = self.lifecycle
        assert lifecycle.started_with
        assert lifecycle.authority
        warn_of_uncovered_hosts(lifecycle.authority, built.hosts)
        later = needs_restart(lifecycle.started_with, config)
        if masters != self.services.agents.masters:
            later.append("secrets")
        if later:
            logger.warning("These changed settings take effect only after a restart: %s", ", ".join(later))
        if lifecycle.simulator and lifecycle.simulator_wanted is None:
            logger.warning("The simulator still handles all calls. Restart Wirekey to reach the real providers.")
        logger.info("The changed configuration is in use")

    def _report_moves(self, before: Destinations) -> None:
        """Log and record where calls go now that did not go there before."""
        for moved in moved_upstreams(before, destinations(self.services.settings)):
            logger.error(
                "MOVED BY A RELOAD: %s. If you did not change the configuration, stop Wirekey.", moved.sentence
            )
            self.services.store.record_final(moved.event())

    def moves(self) -> list[MovedUpstream]:
        """Return where calls go now that did not go there at the start."""
        return list(moved_upstreams(self.began_with, destinations(self.services.settings)))

    async def _repeat(self, check: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await check()
            except Exception:
                logger.exception("The check for changes failed. Agents and configuration stay as they are.")

    async def _reload_agents(self) -> None:
        self.services.agents.refresh()
        for check in self.regular_checks:
            check(self.services.opened)
        self.services.calls.tunnels.end_withdrawn()

    async def _reload_configuration(self) -> None:
        assert self.lifecycle.config
        latest = self.lifecycle.config.fingerprint()
        if latest != self.fingerprint:
            self.fingerprint = latest
            try:
                await self.reload()
                self.rejected = None
            except Exception as error:
                self.rejected = message = user_message(error)
                if message is None:
                    self.rejected = "it cannot be applied. The log has the reason"
                    raise
                logger.error("The changed configuration is not used, the previous one stays in use: %s", message)  # noqa: TRY400  # the message is enough
        await self.services.policy.refresh()


def needs_restart(previous: Config, latest: Config) -> list[str]:
    """Return the names of the settings that differ and that a running process cannot change."""
    of_features = (name for part in parts(AddedSettings) for name in part.fixed_at_start)
    return [name for name in (*FIXED_AT_START, *of_features) if getattr(previous, name) != getattr(latest, name)]


def read(source: Path | None) -> tuple[Config, str]:
    """Return the configuration, and a fingerprint of its files from before they were read. Raises ConfigError.

    A fingerprint from after would hide a change made in between, such as the second half of a file being written.
    """
    fingerprint = configuration.load(source, os.environ).fingerprint()
    return configuration.load(source, os.environ), fingerprint
