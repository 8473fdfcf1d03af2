"""`wirekey serve` with the option of workers, and what their supervisor does before and after they run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.process import StartError, ignore_signals, serve, start_logging
from wirekey.features.workers.config import MOST_WORKERS, WorkersSetting
from wirekey.features.workers.count import counted, worker_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.cli.serving import ServeRequest
    from wirekey.config import Config
    from wirekey.features.workers.count import WorkerCount
    from wirekey.features.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)


class WorkersOption(click.ParamType[int | str]):
    """A number of workers, or `auto`."""

    name = "n|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number or the word. Fails with a message for people."""
        if value == "auto" or isinstance(value, int):
            return "auto" if value == "auto" else int(value)
        if value.isascii() and value.isdigit() and 0 < int(value) <= MOST_WORKERS:
            return int(value)
        raise click.BadParameter(f"{value!r} is neither auto nor a number from 1 to {MOST_WORKERS}.", ctx, param)


def options() -> Sequence[click.Parameter]:
    """Return the options of the command: for people, and for the processes that the supervisor starts."""
    return (
        click.Option(
            ["--workers"],
            type=WorkersOption(),
            default=None,
            help="Processes that share the listeners: a number, or auto for as many as processors, CPU quota and "
            "memory allow. Default: the setting `workers`.",
        ),
        click.Option(["--worker", "descriptor"], type=int, default=None, hidden=True),
    )


def run(request: ServeRequest, values: Mapping[str, Any]) -> int:
    """Run the one process, the supervisor of several, or one of these. Return the exit code."""
    if values["descriptor"] is not None:
        from wirekey.features.workers.connection import SupervisedWorker

        worker = SupervisedWorker(socket.socket(fileno=values["descriptor"]))
        return asyncio.run(serve(request, worker=worker))
    setting = request.config.part(WorkersSetting).workers if values["workers"] is None else values["workers"]
    count = worker_count(setting)
    if count.number == 1:
        return asyncio.run(serve(request, reason=reason_of(count)))
    if request.page:
        raise click.UsageError("--web shows the flows of one process. Add --workers 1.")
    return asyncio.run(supervise(request.config, count, simulator=request.simulator))


def reason_of(count: WorkerCount) -> str | None:
    """Return the line of the log that says why `auto` starts this number of workers; None if a person has chosen it."""
    return f"workers: auto starts {counted(count.number, 'process')}, as {count.reason}." if count.reason else None


async def supervise(config: Config, count: WorkerCount, *, simulator: bool | None) -> int:
    """Run workers until a signal ends them. Return the exit code.

    Raises StartError or UserError if the configuration, the state or an address cannot be used.
    """
    from wirekey.core.audit.checkpoints import KEY_USE, CheckpointKey
    from wirekey.core.ca import authority
    from wirekey.core.calls import settings
    from wirekey.features.workers.connection import SimulatorAddress
    from wirekey.features.workers.listeners import address_of, open_listeners
    from wirekey.features.workers.supervisor import Supervisor, worker_command
    from wirekey.server.audit_store import audit_store
    from wirekey.server.config_checks import check_file_access
    from wirekey.server.installation import agent_store
    from wirekey.server.runtime import RunningProxy
    from wirekey.server.simulation import start_simulator, uses_simulator
    from wirekey.server.state_lock import StateLock

    start_logging(config, reason_of(count))
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
        if uses_simulator(config, simulator):
            running, keys = await start_simulator(config.state)
            stack.push_async_callback(running.stop)
            address = SimulatorAddress(running.port, keys)
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
    from wirekey.core.calls import settings
    from wirekey.core.errors import user_message

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


def close_all(sockets: dict[str, list[socket.socket]]) -> None:
    """Close the listeners."""
    for found in sockets.values():
        for one in found:
            one.close()
