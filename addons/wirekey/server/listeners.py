"""The ports: told apart from those that are taken before anything is begun, and what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mitmproxy import ctx
from mitmproxy.proxy.mode_specs import ProxyMode, ReverseMode

from wirekey.config import HostPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config

logger = logging.getLogger(__name__)

DISPENSABLE = ("gateway", "console")
"""The listeners that Wirekey can do without, where their port is the default one."""
EARLY_START = "setup_servers"
"""mitmproxy's name of the task in which it starts its listeners."""
NOWHERE = "gateway.invalid"
"""Where mitmproxy believes that the gateway leads; each call is sent elsewhere."""


def own_address() -> bool:
    """Tell whether `listen.forward` decides where to listen: mitmproxy's own options were not used for that."""
    return ctx.options.mode == ["regular"] and ctx.options.listen_port is None


def refuse_taken(config: Config) -> None:
    """Raise OSError with a sentence where an address is taken, or is none of this machine."""
    if own_address():
        place = config.listen.forward
        try_listening(place.host, place.port, "listen.forward", "wirekey.yaml")
    for name in DISPENSABLE:
        own = getattr(config.listen, name)
        if own and name in config.listen.model_fields_set:
            try_listening(own.host, own.port, f"listen.{name}", "wirekey.yaml")
    if "web_port" in ctx.options:
        try_listening(ctx.options.web_host, ctx.options.web_port, "the page of --web", "--web-port")


def modes(config: Config) -> list[str]:
    """Give mitmproxy's listeners, as its option `mode` has them. A gateway whose default port is taken is left out."""
    wanted = [f"regular@{config.listen.forward}"] if own_address() else list(ctx.options.mode)
    place = config.listen.gateway
    if place is None or any(mode.startswith("reverse:") for mode in wanted):
        return wanted
    try:
        # mitmproxy takes no two listeners on port 0, so the system is asked for a port here.
        port = try_listening(place.host, place.port, "listen.gateway", "wirekey.yaml")
    except OSError as error:
        logger.warning("%s Until then Wirekey runs without it.", error.strerror)
        return wanted
    return [*wanted, f"reverse:http://{NOWHERE}@{HostPort(place.host, port)}"]


def try_listening(host: str, port: int, setting: str, where: str) -> int:
    """Give the port, which the system chooses for 0. Raises OSError with a sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As asyncio's servers do: connections of a former process that are still closing take no port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Linux gives the same port to two that have bound it and do not listen yet.
            probe.listen()
            return int(probe.getsockname()[1])
        except OSError as error:
            raise OSError(error.errno, sentence(error, place, setting, where)) from error


def sentence(error: OSError, place: str, setting: str, where: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{place} ({setting}) is in use by another program. Stop that one, or set another port in {where}."
    if error.errno == errno.EACCES:
        return f"{place} ({setting}) may not be used by this user. Set a port above 1023 in {where}."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{place} ({setting}) is no address of this machine. Set one that is in {where}."
    return f"{place} ({setting}) cannot be listened on: {error.strerror}. Set another address in {where}."


def cancel_early_start() -> None:
    """Keep mitmdump and mitmweb from listening on their default address, which is on every interface.

    They begin to start their listener in a task before they load a script, and bind it after, as looking up that
    address takes a thread. An address given by their own options is bound before, and stays. Should this one be bound,
    too, `listen_as_configured` moves it.
    """
    if not own_address() or ctx.options.listen_host:
        return
    with contextlib.suppress(RuntimeError):  # without an event loop nothing has begun
        for task in asyncio.all_tasks():
            if task.get_name() == EARLY_START:
                task.cancel()


async def listen_as_configured() -> None:
    """Let the listeners be where the options say. Raises OSError with mitmproxy's reason."""
    servers = ctx.master.addons.get("proxyserver").servers
    for mode in [server.mode for server in servers if not server.is_running and server.last_exception is None]:
        # Its start was cancelled. mitmproxy would take it for one that runs.
        del servers._instances[mode]  # noqa: SLF001  # there is no other way to it
    await servers.update([ProxyMode.parse(mode) for mode in ctx.options.mode])
    if failed := [str(server.last_exception) for server in servers if server.last_exception]:
        raise OSError(errno.EADDRINUSE, "; ".join(failed))


async def stop_listening() -> None:
    """Take no new connections; those that are there go on. mitmproxy itself listens to the end of the process."""
    try:
        await ctx.master.addons.get("proxyserver").servers.update([])
    except Exception:
        logger.exception("the listeners could not be closed")


def listening_at() -> str:
    """HOST:PORT of the first listener for proxy clients, as the system gave it."""
    return next(place for mode, place in addresses() if not isinstance(mode, ReverseMode))


def gateway_at() -> str | None:
    """HOST:PORT of the gateway; None: there is none."""
    return next((place for mode, place in addresses() if isinstance(mode, ReverseMode)), None)


def addresses() -> Iterator[tuple[ProxyMode, str]]:
    for server in ctx.master.addons.get("proxyserver").servers:
        for host, port, *_ in server.listen_addrs:
            yield server.mode, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def warn_of_strangers(config: Config) -> None:
    """Say that proxy credentials travel unencrypted where other machines can reach the listener."""
    place = config.listen.forward
    try:
        is_local = ip_address(place.host).is_loopback
    except ValueError:
        is_local = place.host == "localhost"
    if not is_local:
        logger.warning(
            "listen.forward is %s: other machines reach it, and agent tokens travel there unencrypted. Let only a "
            "network that you trust reach it, or a tunnel.",
            place,
        )
