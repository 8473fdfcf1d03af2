"""wirekey serve: run the proxy, and print what a new user needs when it listens."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.options import with_config
from wirekey.command_name import COMMAND
from wirekey.errors import UserError
from wirekey.package_imports import import_on_demand
from wirekey.server.worker_count import MOST_WORKERS, counted, worker_count

if TYPE_CHECKING:
    from mitmproxy.master import Master

    from wirekey.config import Config
    from wirekey.server.lifecycle import Lifecycle
    from wirekey.server.runtime import RunningProxy
    from wirekey.server.worker import Worker
    from wirekey.server.worker_count import WorkerCount

logger = logging.getLogger(__name__)

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class WebOptions:
    """The options of mitmweb's page: its port, and whether it shows the responses of models."""

    port: int
    keeps_responses: bool


class StartError(UserError):
    """The proxy cannot start."""

    exit_code = 2


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


@click.command("serve")
@with_config
@click.option("--web", is_flag=True, help="Also show the flows in mitmweb at 127.0.0.1:8081.")
@click.option("--web-port", type=click.IntRange(1, 65535), default=8081, help="The port of --web.")
@click.option(
    "--keep-responses",
    is_flag=True,
    help="With --web: keep the responses of models, and show them to everyone who can open the page.",
)
@click.option(
    "--simulator/--no-simulator",
    default=None,
    help="Use the embedded simulator instead of the providers. Default: only without any key and without wirekey.yaml.",
)
@click.option(
    "--workers",
    type=WorkersOption(),
    default=None,
    help="Processes that share the listeners: a number, or auto for as many as processors, CPU quota and memory allow. "
    "Default: the setting `workers`.",
)
@click.option("--worker", "descriptor", type=int, default=None, hidden=True)
def command(
    config: Config,
    *,
    web: bool,
    web_port: int,
    keep_responses: bool,
    simulator: bool | None,
    workers: int | str | None,
    descriptor: int | None,
) -> None:
    """Run the proxy: decide and record each call, and add the provider's key."""
    if keep_responses and not web:
        raise click.UsageError("--keep-responses needs --web, which shows the responses.")
    page = WebOptions(web_port, keep_responses) if web else None
    if descriptor is not None:
        from wirekey.server.worker import Worker

        worker = Worker(socket.socket(fileno=descriptor))
        sys.exit(asyncio.run(serve(config, page=None, simulator=simulator, worker=worker)))
    count = worker_count(config.workers if workers is None else workers)
    if count.number == 1:
        sys.exit(asyncio.run(serve(config, page=page, simulator=simulator, count=count)))
    if page:
        raise click.UsageError("--web shows the flows of one process. Add --workers 1.")
    from wirekey.cli.supervise import supervise

    sys.exit(asyncio.run(supervise(config, count, simulator=simulator)))


async def serve(
    config: Config,
    *,
    page: WebOptions | None,
    simulator: bool | None,
    worker: Worker | None = None,
    count: WorkerCount | None = None,
) -> int:
    """Run the proxy until a signal ends it, with mitmweb if there is a `page`. Returns the exit code.

    `worker`: the connection to the supervisor, if this process is one of several workers. `count`: why there is only
    one, for the log. Raises StartError if the log file, the configuration or the state cannot be used.
    """
    from mitmproxy.exceptions import OptionsError

    start_logging(config, count)
    try:
        master, lifecycle = make_master(config, page=page, simulator=simulator, worker=worker)
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


def start_logging(config: Config, count: WorkerCount | None = None) -> None:
    """Begin to log as configured, with why there are so many workers. Raises StartError if this cannot be written."""
    from wirekey.observing.log import set_up_logging

    try:
        set_up_logging(config.log)
    except OSError as error:
        raise StartError(f"log.file: {config.log.file} cannot be written: {error.strerror}.") from error
    if count and count.reason:
        logger.info("workers: auto starts %s, as %s.", counted(count.number, "process"), count.reason)


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
        """Accept connections for some seconds, finish the open calls and end. `replaced`: other workers go on."""
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


def make_master(
    config: Config, *, page: WebOptions | None, simulator: bool | None, worker: Worker | None = None
) -> tuple[Master, Lifecycle]:
    """Return mitmproxy's master with Wirekey's addons, started. Raises OptionsError if Wirekey cannot start."""
    if page is None:
        import_on_demand("mitmproxy.addons")
    from mitmproxy.options import Options

    from wirekey.calls.kept_responses import KEEP_RESPONSES
    from wirekey.calls.services import Services
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
    ours = addons_in_order(services, config, simulator, worker)
    builtin = list(master.addons.chain)
    master.addons.add(*ours)
    # First in the chain, as scripts are: no other addon sees a request with the client's credentials.
    master.addons.chain[:] = [*ours, *builtin]
    if page and page.keeps_responses:
        options.update(**{KEEP_RESPONSES: True})  # mitmproxy then calls `configure`, which starts Wirekey
    ours[0].configure(set())
    return master, ours[0]


def print_startup_banner(lifecycle: Lifecycle) -> None:
    """Print the startup banner."""
    from mitmproxy import ctx

    click.echo(startup_banner(lifecycle, getattr(ctx.master, "web_url", None)))


def startup_banner(lifecycle: Lifecycle, web_url: str | None = None) -> str:
    """Return the startup banner: listeners, providers and their keys, CA, and the next commands."""
    from wirekey.server.audit_store import audit_place

    config = lifecycle.config
    assert config
    assert lifecycle.running_proxy
    assert lifecycle.authority
    lines = [f"Wirekey listens on {lifecycle.running_proxy.forward} (for HTTPS_PROXY)."]
    if web_url:
        lines.append(f"mitmweb shows the flows, without keys and tokens: {web_url}")
    lines += ["", *simulation(lifecycle), *open_access(lifecycle), *notices_of_features(lifecycle)]
    lines += [*provider_lines(lifecycle), *proxy_lines(lifecycle)]
    expires = f"{lifecycle.authority.expires:%Y-%m-%d}"
    lines += [
        "",
        f"  CA         {lifecycle.authority.root_file} (valid for these hosts only, until {expires})",
        f"             SHA-256 {lifecycle.authority.fingerprint}",
        f"  audit      {audit_place(config)}",
        *endpoint_lines(lifecycle),
        "",
        f"Run a program through Wirekey: {COMMAND} exec -- python my_program.py",
        f"Create a token for an agent:   {COMMAND} agents add alice",
        f"Show the calls:                {COMMAND} audit tail",
        *next_commands(lifecycle.running_proxy),
    ]
    return "\n".join(lines)


def next_commands(running: RunningProxy) -> list[str]:
    """Return the lines of features with a command for people."""
    from wirekey.feature_registry import parts
    from wirekey.server.feature_parts import NextCommand

    shown = [part for part in parts(NextCommand) if getattr(running, part.listener)]
    return [f"{f'{part.purpose}:':<30} {COMMAND} {part.command}" for part in shown]


def endpoint_lines(lifecycle: Lifecycle) -> list[str]:
    """Return one line for each listener of Wirekey's own endpoints, with their paths."""
    from wirekey.endpoints.routes import HEALTH_PATH, READY_PATH
    from wirekey.feature_registry import parts
    from wirekey.server.feature_parts import AddedEndpoints

    running = lifecycle.running_proxy
    assert running
    added = [path for part in parts(AddedEndpoints) for path in part.listed(lifecycle.services)]
    paths = ", ".join([HEALTH_PATH, READY_PATH, *added])
    found = []
    if running.console:
        found.append(f"  console    http://{running.console} ({paths})")
    if running.gateway:
        found.append(f"  gateway    http://{running.gateway} (base_url; {paths})")
    return found


def simulation(lifecycle: Lifecycle) -> list[str]:
    """Return lines that report that the simulator handles all calls, and why. Empty if it does not."""
    if not lifecycle.services.settings.simulated:
        return []
    if lifecycle.simulator_wanted:
        return [
            "SIMULATED: --simulator was given, so the embedded simulator handles all calls, and no key is used.",
            "           Start without it to reach the real providers.",
            "",
        ]
    return [
        "SIMULATED: there is no provider key and no wirekey.yaml, so the embedded simulator handles all calls.",
        "           To reach the real providers, set OPENAI_API_KEY, GEMINI_API_KEY, ANTHROPIC_API_KEY or",
        "           AWS_BEARER_TOKEN_BEDROCK and restart.",
        "",
    ]


def open_access(lifecycle: Lifecycle) -> list[str]:
    """Return lines that report that calls need no agent. Empty if they need one."""
    if lifecycle.services.settings.identity_required:
        return []
    return [
        "EVERYBODY MAY CALL: identity.required is false. Every program that reaches a listener uses the provider keys.",
        "",
    ]


def proxy_lines(lifecycle: Lifecycle) -> list[str]:
    """Return lines about the proxy on the way out, and about one of the environment that is not used."""
    from wirekey.config import environment_proxy

    assert lifecycle.config
    settings, config = lifecycle.services.settings, lifecycle.config
    named = environment_proxy(config, config.environ)
    lines = []
    if settings.proxy:
        source = "upstream_proxy" if config.upstream_proxy else named.variable
        lines.append(f"  proxy      {settings.proxy.authority} on the way out ({source})")
    elif named.ignored and not settings.simulated:
        lines.append(f"  proxy      {named.variable} is not used: {named.ignored}")
    lines += [f"  proxy      {proxy.authority} on the way to {host}" for host, proxy in settings.proxies.items()]
    return lines


def notices_of_features(lifecycle: Lifecycle) -> list[str]:
    """Return the lines of features, such as one that reports that prompts and responses are logged."""
    from wirekey.feature_registry import parts
    from wirekey.server.feature_parts import Notices

    return [line for notices in parts(Notices) for line in notices.banner(lifecycle.services)]


def provider_lines(lifecycle: Lifecycle) -> list[str]:
    """Return one line for each provider: its keys or the missing setting, and its usual hosts."""
    from wirekey.cli.key_sources import other_source
    from wirekey.config import usual_hosts
    from wirekey.providers import PROVIDERS

    assert lifecycle.config
    settings = lifecycle.services.settings
    rows = []
    for name, pool in settings.pools.items():
        count = len(pool.keys)
        other = not settings.simulated and not count and other_source(lifecycle.config, name)
        keys = "simulated" if settings.simulated else f"{count} key{'s' * (count != 1)}" if count else "no key"
        hosts = ", ".join(host for host, provider in usual_hosts(lifecycle.config).items() if provider == name)
        upstream = settings.upstreams.get(name)
        if upstream and not settings.simulated:
            hosts += f" (at {upstream.authority})"
        missing = "" if count else f"; {other}" if other else f"; set {PROVIDERS[name].key_setting or 'its keys'}"
        rows.append(f"  {name:<10} {keys:<10} {hosts}{missing}")
    return rows
