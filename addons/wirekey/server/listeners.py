"""The listeners: checks their addresses before the start, opens them, and returns the addresses in use.

mitmproxy opens the listeners of the proxy and the gateway. Wirekey only sets its option `mode`.
"""

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

OPTIONAL = ("gateway", "console")
"""Listeners that Wirekey can run without. If their default port is taken, they stay closed."""
EARLY_START = "setup_servers"
"""The name of the task in which mitmproxy opens its listeners."""
BACKLOG = 1024
"""Connections that wait until they are accepted. The system drops further ones, and their clients wait for a second."""
PLACEHOLDER_HOST = "gateway.invalid"
"""The host to which mitmproxy would forward the gateway's requests. Routing replaces it for each call."""


def uses_listen_forward() -> bool:
    """Return whether `listen.forward` sets the address of the proxy, and not mitmproxy's own options."""
    return ctx.options.mode == ["regular"] and ctx.options.listen_port is None


def refuse_taken(config: Config) -> None:
    """Raise OSError, with a message for people, if a configured address cannot be listened on."""
    if uses_listen_forward():
        place = config.listen.forward
        try_listening(place.host, place.port, "listen.forward", "wirekey.yaml")
    for name in OPTIONAL:
        address = getattr(config.listen, name)
        if address and name in config.listen.model_fields_set:
            try_listening(address.host, address.port, f"listen.{name}", "wirekey.yaml")
    if "web_port" in ctx.options:
        try_listening(ctx.options.web_host, ctx.options.web_port, "the page of --web", "--web-port")


def modes(config: Config) -> list[str]:
    """Return the value of mitmproxy's option `mode`: the proxy, and the gateway unless its default port is taken."""
    wanted = [f"regular@{config.listen.forward}"] if uses_listen_forward() else list(ctx.options.mode)
    place = config.listen.gateway
    if place is None or any(mode.startswith("reverse:") for mode in wanted):
        return wanted
    try:
        # mitmproxy does not accept two listeners on port 0, so the port is chosen here.
        port = try_listening(place.host, place.port, "listen.gateway", "wirekey.yaml")
    except OSError as error:
        logger.warning("%s Until then Wirekey runs without the gateway.", error.strerror)
        return wanted
    return [*wanted, f"reverse:http://{PLACEHOLDER_HOST}@{HostPort(place.host, port)}"]


def try_listening(host: str, port: int, setting: str, where: str) -> int:
    """Listen on an address and close it again. Returns the port, which the system chooses for 0.

    `setting` and `where` name the setting of the address, for the message. Raises OSError with a message for people.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As asyncio's servers do: closing connections of an earlier process do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Linux gives the same port to two sockets that are bound and do not listen yet.
            probe.listen()
            return int(probe.getsockname()[1])
        except OSError as error:
            raise OSError(error.errno, listen_error(error, place, setting, where)) from error


def listen_error(error: OSError, place: str, setting: str, where: str) -> str:
    """Return a message for people: which address cannot be listened on, why, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"{place} ({setting}) is in use by another program. Stop that program, or set another port in {where}."
    if error.errno == errno.EACCES:
        return f"{place} ({setting}) may not be used by this user. Set a port above 1023 in {where}."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{place} ({setting}) is not an address of this machine. Set one of its addresses in {where}."
    return f"{place} ({setting}) cannot be listened on: {error.strerror}. Set another address in {where}."


def cancel_early_start() -> None:
    """Stop mitmdump and mitmweb from listening on their default address, which is on every interface.

    They create the task for their listener before they load a script and bind the port later, as the lookup of the
    address runs in a thread. An address from their own options is already bound and stays. If the default address is
    bound already, too, `listen_as_configured` moves the listener.
    """
    if not uses_listen_forward() or ctx.options.listen_host:
        return
    with contextlib.suppress(RuntimeError):  # there is no event loop, so nothing has started
        for task in asyncio.all_tasks():
            if task.get_name() == EARLY_START:
                task.cancel()


async def listen_as_configured() -> None:
    """Open the listeners of mitmproxy's option `mode`. Raises OSError with mitmproxy's reason."""
    servers = ctx.master.addons.get("proxyserver").servers
    for mode in [server.mode for server in servers if not server.is_running and server.last_exception is None]:
        # Its start was cancelled, but mitmproxy treats it as running.
        del servers._instances[mode]  # noqa: SLF001  # there is no public way
    await servers.update([ProxyMode.parse(mode) for mode in ctx.options.mode])
    if failed := [str(server.last_exception) for server in servers if server.last_exception]:
        raise OSError(errno.EADDRINUSE, "; ".join(failed))
    for listener in [each for server in servers for each in server._servers if isinstance(each, asyncio.Server)]:  # noqa: SLF001
        lengthen_queue(listener)


def lengthen_queue(listener: asyncio.Server) -> None:
    """Allow `BACKLOG` connections to wait until they are accepted. mitmproxy allows 100, fewer than a burst has."""
    for each in listener.sockets:
        with each.dup() as same:
            same.listen(BACKLOG)


async def stop_listening() -> None:
    """Close the listeners. Open connections continue. mitmproxy itself would listen until the process ends."""
    try:
        await ctx.master.addons.get("proxyserver").servers.update([])
    except Exception:
        logger.exception("The listeners could not be closed")


def forward_address() -> str:
    """Return HOST:PORT of the first listener for proxy clients, with the port that is really used."""
    return next(place for mode, place in addresses() if not isinstance(mode, ReverseMode))


def gateway_address() -> str | None:
    """Return HOST:PORT of the gateway, or None if it is not open."""
    return next((place for mode, place in addresses() if isinstance(mode, ReverseMode)), None)


def addresses() -> Iterator[tuple[ProxyMode, str]]:
    """Yield mode and HOST:PORT of each open listener of mitmproxy."""
    for server in ctx.master.addons.get("proxyserver").servers:
        for host, port, *_ in server.listen_addrs:
            yield server.mode, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def warn_if_reachable(config: Config) -> None:
    """Log a warning if other machines can reach the proxy, as agent tokens travel there unencrypted."""
    place = config.listen.forward
    try:
        is_local = ip_address(place.host).is_loopback
    except ValueError:
        is_local = place.host == "localhost"
    if not is_local:
        logger.warning(
            "listen.forward is %s: other machines can reach it, and agent tokens travel there unencrypted. Allow "
            "access only from a network that you trust, or through a tunnel.",
            place,
        )


def warn_if_open(config: Config) -> None:
    """Log a warning if calls need no identity. Every program that reaches a listener then uses the provider keys."""
    if not config.identity.required:
        places = [place for place in (config.listen.forward, config.listen.gateway) if place]
        logger.warning(
            "EVERYBODY MAY CALL: identity.required is false. Every program that reaches %s uses the provider keys "
            "without a token, and its calls have no agent in the audit log. Remove the setting to require an agent.",
            " or ".join(map(str, places)),
        )
