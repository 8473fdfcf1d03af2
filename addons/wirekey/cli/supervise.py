"""`wirekey serve` with several workers: what their supervisor does before and after they run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import secrets
import signal
from typing import TYPE_CHECKING

from wirekey.cli.serve import StartError, ignore_signals, start_logging

if TYPE_CHECKING:
    import socket

    from wirekey.config import Config
    from wirekey.server.supervisor import Supervisor
    from wirekey.server.worker import SimulatorAddress
    from wirekey.server.worker_count import WorkerCount
    from wirekey_simulator.server import Simulator

logger = logging.getLogger(__name__)


async def supervise(config: Config, count: WorkerCount, *, simulator: bool | None) -> int:
    """Run workers until a signal ends them. Return the exit code.

    Raises StartError or UserError if the configuration, the state or an address cannot be used.
    """
    from wirekey.audit.checkpoints import KEY_USE, CheckpointKey
    from wirekey.ca import authority
    from wirekey.calls import settings
    from wirekey.server.audit_store import audit_store
    from wirekey.server.config_checks import check_file_access
    from wirekey.server.installation import agent_store
    from wirekey.server.runtime import RunningProxy
    from wirekey.server.shared_listeners import address_of, open_listeners
    from wirekey.server.state_lock import StateLock
    from wirekey.server.supervisor import Supervisor, worker_command

    start_logging(config, count)
    check_file_access(config)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain the keys that are read next
    first = settings.build(config)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(StateLock(config.state).release)
        RunningProxy.remove(config.state)  # of a process that was killed
        try:
            sockets = open_listeners(config)
        except OSError as error:
            raise StartError(error.strerror or str(error)) from error
        stack.callback(close_all, sockets)
        authority.ensure(config.certs.folder, list(first.hosts), given=config.certs.key_file)
        key = CheckpointKey(agent_store(config).derived_key(KEY_USE))
        store = audit_store(config, key)
        store.start()  # marks the calls that were in progress when all processes died
        await store.close()
        address = None
        if simulator or (simulator is None and not (config.has_file or config.has_any_key)):
            running, address = await start_simulator(config)
            stack.push_async_callback(running.stop)
        places = {name: str(address_of(found[0])) for name, found in sockets.items()}
        proxy = RunningProxy(
            os.getpid(), places["forward"], address is not None, places.get("gateway"), places.get("console")
        )
        stack.callback(RunningProxy.remove, config.state)
        supervisor = Supervisor(
            count.number,
            worker_command(["serve", *arguments_of(config, simulator=simulator)]),
            sockets,
            drain_delay=config.timeouts.drain_delay,
            drain=config.timeouts.drain,
            simulator=address,
            on_listening=lambda: proxy.write(config.state),
        )
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, supervisor.stop)
        loop.add_signal_handler(signal.SIGINT, lambda: supervisor.stop(at_once=True))
        loop.add_signal_handler(signal.SIGHUP, lambda: replace(supervisor, config))
        try:
            return await supervisor.run()
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            ignore_signals(loop)


def arguments_of(config: Config, *, simulator: bool | None) -> list[str]:
    """Return the arguments with which a worker reads the same configuration."""
    found = ["--config", str(config.source)] if config.source else []
    return found if simulator is None else [*found, "--simulator" if simulator else "--no-simulator"]


def replace(supervisor: Supervisor, config: Config) -> None:
    """Replace the workers if their configuration is valid. Otherwise log why not, and keep them."""
    from wirekey import config as configuration
    from wirekey.calls import settings
    from wirekey.errors import user_message

    try:
        latest = configuration.load(config.source, os.environ)
        settings.build(latest)
    except Exception as error:
        if (message := user_message(error)) is None:
            raise
        logger.error("The workers are not replaced: %s", message)  # noqa: TRY400  # the message is complete
        return
    supervisor.drain, supervisor.drain_delay = latest.timeouts.drain, latest.timeouts.drain_delay
    supervisor.replace()


async def start_simulator(config: Config) -> tuple[Simulator, SimulatorAddress]:
    """Start the simulator for all workers, with new keys."""
    from wirekey.providers import PROVIDERS
    from wirekey.server.worker import SimulatorAddress
    from wirekey_simulator.server import Simulator

    keys = {name: f"sim-{secrets.token_hex(16)}" for name in PROVIDERS}
    accepted = {name: [key] for name, key in keys.items()}
    simulator = Simulator(certificate_folder=config.state / "simulator", keys=accepted)
    await simulator.start()
    return simulator, SimulatorAddress(simulator.port, str(simulator.ca_file), keys)


def close_all(sockets: dict[str, list[socket.socket]]) -> None:
    """Close the listeners."""
    for found in sockets.values():
        for one in found:
            one.close()
