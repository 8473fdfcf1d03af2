"""While Wirekey runs: agents, keys, configuration and policies are followed; a bad new state keeps the former one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from wirekey import config as configuration
from wirekey.calls import settings
from wirekey.errors import user_message
from wirekey.server import memory
from wirekey.server.config_checks import check_file_access, check_implemented
from wirekey.server.policy_engine import start_policy_engine
from wirekey.server.token_service import TokenService

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from wirekey.calls.settings import Settings
    from wirekey.config import Config
    from wirekey.server.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.5
"""How often agents and configuration are looked at for changes; a change must count within 2 s."""

FIXED_AT_START = ("listen", "state", "certs", "log", "upstream_ca_file", "audit")
"""Settings that take effect only at a restart."""


class Reloader:
    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.services = lifecycle.services
        self.fingerprint = ""
        """Of the files that the configuration was last read from, also where that was in vain."""
        self.tasks: list[asyncio.Task[None]] = []
        self._reloading = asyncio.Lock()
        """Of two reloads, the later one must be the one that stays."""

    def begin(self) -> None:
        # Apart, as a new policy may take long to be tried, and a revoked agent must be out before that.
        self.tasks = [asyncio.create_task(self._again_and_again(each)) for each in (self._agents, self._configuration)]
        self.tasks.append(asyncio.create_task(memory.give_back()))

    async def end(self) -> None:
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def reload(self) -> None:
        """Use the configuration as it is now, but for what is settled at the start: the whole of it or nothing.

        Whatever takes its time is done beside the event loop, while calls go on as before. Raises what
        `user_message` explains; then nothing has changed.
        """
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        lifecycle, services = self.lifecycle, self.services
        assert lifecycle.config
        assert lifecycle.started_with
        assert lifecycle.token_service
        previous = lifecycle.config
        config, fingerprint = await asyncio.to_thread(read, previous.source)
        check_implemented(config)
        await asyncio.to_thread(check_file_access, config)
        with contextlib.ExitStack() as undone:
            policy = services.policy
            if config.deciding != previous.deciding:
                policy = await start_policy_engine(config)
                undone.callback(policy.close)
            # After what takes longest, as it takes over which keys rest.
            built, token_service = await asyncio.to_thread(
                self._prepared, config, services.settings, lifecycle.token_service
            )
            if lifecycle.simulator:
                built = settings.simulated(built, lifecycle.simulator.port, lifecycle.simulator_keys)
            undone.pop_all()
        # From here on nothing waits and nothing fails, so that no call sees a half of it.
        before, services.policy, services.settings = services.policy, policy, built
        services.upstream_connections.drain()  # where they lead may not be allowed any more
        token_service.open(services)
        lifecycle.token_service, lifecycle.config, self.fingerprint = token_service, config, fingerprint
        if policy is not before:
            before.close()
        self._tell(config, built)

    def _prepared(
        self, config: Config, previous: Settings, token_service: TokenService
    ) -> tuple[Settings, TokenService]:
        start = self.lifecycle.started_with
        assert start
        built = settings.build(config, previous)
        return built, TokenService.prepare(
            config.identity.jwt, self.services.agents, start.state, start.upstream_ca_file, token_service
        )

    def _tell(self, config: Config, built: Settings) -> None:
        lifecycle = self.lifecycle
        assert lifecycle.started_with
        lifecycle.warn_of_hosts(built.hosts)
        if later := needs_restart(lifecycle.started_with, config):
            logger.warning("changed, but in use only when Wirekey is started anew: %s", ", ".join(later))
        if lifecycle.simulator and lifecycle.simulator_wanted is None:
            logger.warning("the simulator still stands in for all providers; start Wirekey anew to reach the real ones")
        logger.info("the changed configuration is in use")

    async def _again_and_again(self, follow: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await follow()
            except Exception:
                logger.exception("following the agents and the configuration failed; the former ones stay")

    async def _agents(self) -> None:
        self.services.agents.refresh()
        self.services.jwts.keep_fresh()
        self.services.calls.tunnels.end_withdrawn()

    async def _configuration(self) -> None:
        assert self.lifecycle.config
        latest = self.lifecycle.config.fingerprint()
        if latest != self.fingerprint:
            self.fingerprint = latest
            try:
                await self.reload()
            except Exception as error:
                if (why := user_message(error)) is None:
                    raise
                logger.error("the changed configuration is not used, the former one stays: %s", why)  # noqa: TRY400  # a sentence says it all
        await self.services.policy.refresh()


def needs_restart(previous: Config, latest: Config) -> list[str]:
    """Return the names of the settings that differ and that a running process cannot change."""
    return [name for name in FIXED_AT_START if getattr(previous, name) != getattr(latest, name)]


def read(source: Path | None) -> tuple[Config, str]:
    """Give the configuration and the fingerprint of its files, from before they were read. Raises ConfigError.

    One from after would hide a change made in between, such as the second half of a file that is just being written.
    """
    fingerprint = configuration.load(source, os.environ).fingerprint()
    return configuration.load(source, os.environ), fingerprint
