"""Runs the proxy in this process until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

from wirekey.cli.banner import print_startup_banner
from wirekey.core.errors import UserError
from wirekey.core.package_imports import import_on_demand

if TYPE_CHECKING:
    from mitmproxy.master import Master

    from wirekey.cli.serving import ServeRequest
    from wirekey.config import Config
    from wirekey.server.lifecycle import Lifecycle
    from wirekey.server.worker import Worker

logger = logging.getLogger(__name__)

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StartError(UserError):
    """The proxy cannot start."""

    exit_code = 2


async def serve(request: ServeRequest, *, worker: Worker | None = None, reason: str | None = None) -> int:
    """Run the proxy until a signal ends it. Returns the exit code.

    `worker`: the connection to the others, if this process is one of several workers. `reason`: why there is only one,
    for the log. Raises StartError if the log file, the configuration or the state cannot be used.
    """
    from mitmproxy.exceptions import OptionsError

    start_logging(request.config, reason)
    try:
        master, lifecycle = make_master(request, worker)
    except OptionsError as error:
        raise StartError(str(error)) from error
    lifecycle.on_started = print_startup_banner
    loop = asyncio.get_running_loop()
    end = ProcessEnd(master, lifecycle)
    loop.add_signal_handler(signal.SIGTERM, end.drain)
    if worker:
        # A terminal sends these to all processes. The supervisor decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        worker.on_drain, worker.on_stop = end.drain_for, master.shutdown
    else:
        loop.add_signal_handler(signal.SIGINT, master.shutdown)
        if not sys.stdin.isatty():  # otherwise the signal says that the terminal was closed
            loop.add_signal_handler(signal.SIGHUP, lifecycle.reloader.read_again)
    try:
        await master.run()
    except SystemExit as error:  # mitmproxy's check for errors at the start
        return 2 if error.code else 0
    finally:
        await lifecycle.done()
        ignore_signals(loop)
        if worker:
            worker.close()
    return 0


def start_logging(config: Config, first_line: str | None = None) -> None:
    """Begin to log as configured, with this line if there is one. Raises StartError if the log cannot be written."""
    from wirekey.core.observing.log import set_up_logging

    try:
        set_up_logging(config.log)
    except OSError as error:
        raise StartError(f"log.file: {config.log.file} cannot be written: {error.strerror}.") from error
    if first_line:
        logger.info(first_line)


class ProcessEnd:
    """Ends the proxy: after its open calls, and at once when asked again."""

    def __init__(self, master: Master, lifecycle: Lifecycle) -> None:
        self.master = master
        self.lifecycle = lifecycle
        self.task: asyncio.Task[None] | None = None

    def drain(self) -> None:
        """Finish the open calls and end. Called again, end at once."""
        if self.task:
            self.master.shutdown()
            return
        assert self.lifecycle.config
        self.drain_for(self.lifecycle.config.timeouts.drain_delay)

    def drain_for(self, accept_for: float, replaced: bool = False) -> None:
        """Accept connections for some seconds, finish the open calls and end. `replaced`: other workers continue."""
        if self.task is None:
            self.task = asyncio.create_task(self.drain_and_end(accept_for, replaced))

    async def drain_and_end(self, accept_for: float, replaced: bool) -> None:
        """Finish the open calls and end."""
        try:
            await self.lifecycle.drain(accept_for, replaced=replaced)
        finally:
            self.master.shutdown()


def ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Ignore further signals: a second Ctrl-C during the last steps would print a traceback."""
    for signal_number in ENDING_SIGNALS:
        loop.remove_signal_handler(signal_number)
        signal.signal(signal_number, signal.SIG_IGN)


def make_master(request: ServeRequest, worker: Worker | None) -> tuple[Master, Lifecycle]:
    """Return mitmproxy's master with Wirekey's addons, started. Raises OptionsError if Wirekey cannot start."""
    config, page = request.config, request.page
    if page is None:
        import_on_demand("mitmproxy.addons")
    from mitmproxy.options import Options

    from wirekey.core.calls.kept_responses import KEEP_RESPONSES
    from wirekey.core.calls.services import Services
    from wirekey.server.bundle import addons_in_order
    from wirekey.server.master import ServeMaster

    options = Options(confdir=str(config.certs.folder))
    services = Services()
    master: Master
    if page is None:
        master = ServeMaster(options)
    else:
        from mitmproxy.tools.web.master import WebMaster

        from wirekey.feature_registry import parts
        from wirekey.server.feature_parts import PageAddon

        master = WebMaster(options, with_termlog=False)
        master.addons.add(*(part.make(services, master.view) for part in parts(PageAddon)))
        options.update(web_port=page.port, web_open_browser=False)
    ours = addons_in_order(services, config, request.simulator, worker)
    builtin = list(master.addons.chain)
    master.addons.add(*ours)
    # First in the chain, as scripts are: no other addon sees a request with the client's credentials.
    master.addons.chain[:] = [*ours, *builtin]
    if page and page.keeps_responses:
        options.update(**{KEEP_RESPONSES: True})  # mitmproxy then calls `configure`, which starts Wirekey
    ours[0].configure(set())
    return master, ours[0]
