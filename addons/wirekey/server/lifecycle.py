"""Starts Wirekey inside mitmproxy, keeps it up to date while it runs, and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx, exceptions

from wirekey import config as configuration
from wirekey.config.file_identity import identities
from wirekey.core.ca import authority
from wirekey.core.ca.gateway_certificate import ConfiguredCertificate, IssuedCertificate
from wirekey.core.call import end_call_ids_with
from wirekey.core.calls import settings
from wirekey.core.calls.kept_responses import KEEP_RESPONSES
from wirekey.core.errors import user_message
from wirekey.core.metering.own_prices import use_own_prices
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.core.wire.install import install
from wirekey.server import listeners, memory, options, start_warnings
from wirekey.server.config_checks import check_file_access
from wirekey.server.draining import drain
from wirekey.server.feature_parts import begin_in_event_loop, end_in_event_loop, with_backends
from wirekey.server.mitmweb_page import refuse_flows_of_files
from wirekey.server.opened_services import open_services
from wirekey.server.proxied_connections import read_headers_from
from wirekey.server.reload import Reloader
from wirekey.server.runtime import RunningProxy
from wirekey.server.simulation import start_simulator, uses_simulator
from wirekey.server.state_lock import StateLock
from wirekey.server.upstream_roots import write_upstream_roots

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mitmproxy.addonmanager import Loader

    from wirekey.config import Config
    from wirekey.core.ca.authority import Authority
    from wirekey.core.calls.services import Services
    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.server.database_server import FollowsAgents
    from wirekey.server.retention import Retention
    from wirekey.server.revocations import Revocations
    from wirekey.server.worker import RunningSimulator, StateHold, Worker

logger = logging.getLogger(__name__)


class Lifecycle:
    """The addon that fills `services` at the start and closes them at the end.

    The start has three stages. `start` does everything that can fail before a port is open. `listen` opens the ports of
    the proxy and the gateway. `announce`, which the addon of our own endpoints uses when the console listens, publishes
    the addresses and starts the reloader. Until `start` has succeeded, every call is refused.
    """

    def __init__(
        self,
        services: Services,
        config: Config | None = None,
        simulator: bool | None = None,
        worker: Worker | None = None,
    ) -> None:
        """Set what to start with.

        Without `config`, the file of mitmproxy's option `wirekey` is read. `simulator`: whether to use the embedded
        simulator; None: only if there is no key and no configuration file. `worker`: the connection to the supervisor,
        if this process is one of several workers.
        """
        self.services = services
        self.worker = worker
        self.config = config
        # Taken before anything else, so that a later change of the files is noticed.
        self.first_fingerprint = config.fingerprint() if config else ""
        self.started_with: Config | None = None
        """The configuration at the start, with the settings that only a restart changes."""
        self.simulator_wanted = simulator
        self.simulator: RunningSimulator | None = None
        self.simulator_keys: dict[str, str] = {}
        self.lock: StateHold | None = None
        self.authority: Authority | None = None
        self.reloader = Reloader(self)
        self.retention: Retention | None = None
        self.revocations: Revocations | None = None
        """The exchange of revocations with other machines."""
        self.agents_follower: FollowsAgents | None = None
        """Copies the agents of `agents.store`."""
        self.starting = False
        self.opened = False
        self.services_of_features = contextlib.ExitStack()
        """Whether `start` has succeeded."""
        self.listening = False
        self.is_replaced = False
        """Whether other workers continue after this one has drained."""
        self.fixed_options: dict[str, Any] = {}
        """mitmproxy's options that may not change any more, with their values."""
        self.running_proxy: RunningProxy | None = None
        """What `announce` has published."""
        self.on_started: Callable[[Lifecycle], None] = lambda _: None

    def load(self, loader: Loader) -> None:
        """Declare Wirekey's options."""
        loader.add_option("wirekey", str, "", "Configuration file of Wirekey. Default: ./wirekey.yaml if it exists.")
        loader.add_option(KEEP_RESPONSES, bool, False, "Keep the responses of models, for mitmweb and dumps to show.")

    def configure(self, updated: Collection[str]) -> None:
        """Start Wirekey when mitmproxy has its options. Later, refuse changes of the options that Wirekey needs."""
        if self.opened:
            options.check(updated, self.fixed_options)
        elif not self.starting:  # the start sets options, which leads here again
            self.start()

    # Start.

    def start(self) -> None:
        """Start everything that can fail before a port is open. Raises OptionsError with the reason.

        If a step fails, what earlier steps have opened is closed again.
        """
        self.starting = True
        try:
            with contextlib.ExitStack() as undo:
                self._take_start_steps(undo)
                undo.pop_all()
        except Exception as error:
            if (message := user_message(error)) is None:
                raise
            raise exceptions.OptionsError(f"Wirekey cannot start: {message}") from None
        finally:
            self.starting = False
        self.opened = True

    def _take_start_steps(self, undo: contextlib.ExitStack) -> None:
        listeners.cancel_early_start()
        install()
        config = self.config = self.started_with = self.config or self.read_configuration()
        if networks := config.listen.proxy_protocol:
            read_headers_from(networks, lambda: self.services.settings.deadlines.first_byte)
        self.reloader.fingerprint = self.first_fingerprint or config.fingerprint()
        check_file_access(config)
        self.reloader.identities = identities(config)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain the keys that are read next
        first = settings.build(config)
        lock = self._take_state(config, undo)
        self.authority = authority.ensure(config.certs.folder, list(first.hosts), given=config.certs.key_file)
        options.enforce(str(config.certs.folder))  # after our CA exists: mitmproxy would create one of its own
        self.set_options(config, self.authority)
        self.services.settings = first  # with the proxies on the way to the servers that are opened next
        opened = open_services(self.services, config, self.worker, self.proxy_for, undo)
        self.agents_follower, self.revocations, self.retention = (
            opened.agents_follower,
            opened.revocations,
            opened.retention,
        )
        self.services_of_features = opened.of_features
        first = with_backends(first, config, self.services.opened)
        self.services.settings, self.lock = first, lock
        use_own_prices(first.prices)
        if "bedrock" in config.providers.model_fields_set:
            self.services.upstream_signatures.load()
            self.services.agent_signatures.load()
        start_warnings.warn_of_uncovered_hosts(self.authority, first.hosts)
        self.fixed_options = options.fixed_at_start()

    def _take_state(self, config: Config, undo: contextlib.ExitStack) -> StateHold:
        """Lock the state folder and check the addresses, which was done once for all workers."""
        if self.worker:
            end_call_ids_with(self.worker.tag)
            return self.worker.take_state()
        lock = StateLock(config.state)
        undo.callback(lock.release)
        RunningProxy.remove(config.state)  # of a process that was killed
        listeners.refuse_taken(config)
        return lock

    def read_configuration(self) -> Config:
        """Read the configuration file of mitmproxy's option `wirekey`. Raises ConfigError."""
        return configuration.load(Path(ctx.options.wirekey) if ctx.options.wirekey else None, os.environ)

    def set_options(self, config: Config, ca: Authority) -> None:
        """Set mitmproxy's options for the CA, the trusted upstreams and the listeners."""
        changes: dict[str, object] = {
            "confdir": str(config.certs.folder),
            "ssl_verify_upstream_trusted_ca": str(write_upstream_roots(config, config.state)),
        }
        if config.listen.gateway:
            files = config.listen.gateway_tls
            self.services.gateway_certificate = ConfiguredCertificate(files) if files else IssuedCertificate(ca)
        changes["mode"] = self.worker.modes() if self.worker else listeners.modes(config)
        ctx.options.update(**changes)

    def proxy_for(self, host: str, port: int) -> UpstreamProxy | None:
        """Return the proxy through which Wirekey's own requests reach a host, by the settings in use, or None."""
        return self.services.settings.proxies.proxy_for(host, port)

    async def running(self) -> None:
        """Open the listeners once mitmproxy runs."""
        if not self.opened:
            return  # the reason is logged, and makes mitmproxy exit
        self.fixed_options = options.fixed()
        refuse_flows_of_files(ctx.master)
        try:
            await self.listen()
        except Exception as error:
            # mitmproxy checks for logged errors after this hook, and then exits.
            logger.error("Wirekey cannot start: %s", user_message(error) or error)  # noqa: TRY400  # no traceback

    async def listen(self) -> None:
        """Start the simulator if it is needed, then open the proxy and the gateway. Raises OSError."""
        assert self.started_with
        if self.worker:
            await self.worker.connect()
            if shared := self.worker.simulator:
                self.use_simulator(shared, shared.keys)
        elif uses_simulator(self.started_with, self.simulator_wanted):
            # Before there are calls, as they would fail without a provider key.
            simulator, keys = await start_simulator(self.started_with.state)
            self.use_simulator(simulator, keys)
            write_upstream_roots(self.started_with, self.started_with.state, Path(simulator.ca_file))
        try:
            await self.services.shared_state.start()
        except SharedStateUnavailableError as error:
            # Not an error, as mitmproxy would then exit.
            logger.warning("%s. Wirekey starts nevertheless, and tries again.", error)
        await self.services.sharing.begin()
        if self.revocations:
            await self.revocations.exchange_or_report()
        if self.agents_follower:
            self.agents_follower.start(asyncio.get_running_loop(), self.use_agents)
        begin_in_event_loop(self.services.opened)
        await listeners.listen_as_configured()
        self.listening = True

    def use_agents(self) -> None:
        """Use agents that have changed, and end the tunnels of those that were revoked."""
        self.services.agents.refresh()
        self.services.calls.tunnels.end_withdrawn()

    def use_simulator(self, simulator: RunningSimulator, keys: dict[str, str]) -> None:
        """Direct all calls to a simulator that runs. `keys`: provider → the key that it accepts."""
        self.simulator, self.simulator_keys = simulator, keys
        self.services.settings = settings.simulated(self.services.settings, simulator.port, keys)

    def announce(self, console: str | None) -> None:
        """Publish the addresses of the listeners, now that all of them are open, and start to reload changes.

        `console` is HOST:PORT, or None if the console is not open. Raises OSError.
        """
        assert self.config
        assert self.started_with
        simulated = self.services.settings.simulated
        forward, gateway = listeners.forward_address(), listeners.gateway_address()
        self.running_proxy = RunningProxy(os.getpid(), forward, simulated, gateway, console)
        if self.worker is None:
            self.running_proxy.write(self.started_with.state)
        if self.worker is None or self.worker.is_first:
            start_warnings.warn_of_settings(self.config, self.services.opened)
            self.on_started(self)
        if self.retention:
            self.retention.begin()
        memory.freeze_startup_objects()
        self.reloader.begin()
        if self.worker:
            self.worker.report_listening()

    # End.

    async def drain(self, accept_for: float, *, replaced: bool = False) -> None:
        """Finish the calls that have begun, and end those that last longer than `timeouts.drain`.

        `accept_for`: seconds for which connections are still accepted, as a load balancer needs a while to notice that
        the process is not ready. `replaced`: other workers continue, so Wirekey stays ready.
        """
        assert self.config
        state, calls, limit = self.services.drain, self.services.calls, self.config.timeouts.drain
        if state.has_begun or not self.listening:
            return
        state.has_begun, self.is_replaced = True, replaced
        await drain(state, calls, limit, accept_for, awaits_idle=replaced or accept_for > 0)

    async def done(self) -> None:
        """Stop Wirekey: stop the reloader, close the listeners, record unfinished calls, and free the state folder."""
        await self.reloader.end()
        if self.agents_follower:
            await asyncio.to_thread(self.agents_follower.stop)
        if self.retention:
            await self.retention.end()
        if not self.lock or not self.opened:
            return
        lock, self.lock = self.lock, None
        await listeners.stop_listening()
        self.services.calls.interrupt_all()
        self.services.policy.close()
        self.services.body_reader.end()
        await self.services.store.close()
        await self.services.usage_limits.finish()
        await end_in_event_loop(self.services.opened)
        await self.services.sharing.close()
        await self.services.shared_state.close()
        await asyncio.to_thread(self.services.usage_limits.close)
        await asyncio.to_thread(self.services_of_features.close)
        await self.services.upstream_connections.close()
        if self.simulator:
            await self.simulator.stop()
        assert self.started_with
        if self.worker is None:
            RunningProxy.remove(self.started_with.state)
        lock.release()
