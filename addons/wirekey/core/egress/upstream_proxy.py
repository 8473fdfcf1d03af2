"""A proxy of one's own on the way out: which connections use it, and the tunnel through it (RFC 9110, 9.3.6).

TLS to the provider begins inside the tunnel, so the proxy sees the name of the provider and nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.secret import Secret

type ProxyFor = Callable[[str, int], UpstreamProxy | None]
"""Returns the proxy through which a host and port are reached, or None."""

LONGEST_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")
_END = b"\r\n\r\n"


class TunnelRefusedError(OSError):
    """The proxy did not open the tunnel. The message is for a person and has nothing of the proxy's response."""


@dataclass(frozen=True, slots=True)
class UpstreamProxy:
    """An HTTP proxy that opens tunnels. `no_proxy`: hosts that are reached without it."""

    host: str
    port: int
    user: str = ""
    password: Secret | None = None
    no_proxy: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The URL with the password, for libraries that connect themselves."""
        if not (self.user or self.password):
            return f"http://{self.authority}"
        password = self.password.reveal() if self.password else ""
        return f"http://{quote(self.user, safe='')}:{quote(password, safe='')}@{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_used_for(self, host: str, port: int) -> bool:
        """Return whether a connection goes through the proxy. One to this machine never does."""
        return not is_loopback(host) and not any(matches(entry, host, port) for entry in self.no_proxy)

    def connect_request(self, host: str, port: int) -> bytes:
        """Return the request for a tunnel."""
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        if self.user or self.password:
            password = self.password.reveal() if self.password else ""
            credentials = base64.b64encode(f"{self.user}:{password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {credentials}")
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies on the way out.

    `usual`: that of all hosts. `by_host`: those of providers, by their hosts and the hosts of their upstreams.
    """

    usual: UpstreamProxy | None = None
    by_host: Mapping[str, UpstreamProxy] = field(default_factory=dict)

    def proxy_for(self, host: str, port: int) -> UpstreamProxy | None:
        """Return the proxy through which a host is reached, or None."""
        proxy = self.by_host.get(host, self.usual) if self.by_host else self.usual
        return proxy if proxy is not None and proxy.is_used_for(host, port) else None


def no_proxy_for(_host: str, _port: int) -> None:
    """Return None: every host is reached directly."""


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def matches(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of a list such as NO_PROXY names a host: `*`, a name and all below it, an address.

    Addresses may be networks (10.0.0.0/8). A name may have a leading dot or `*.`, and a port.
    """
    entry = entry.strip().lower()
    if entry == "*":
        return True
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal() and (":" not in name or name.startswith("[")):
        if int(number) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))


async def tunnel_through(proxy: UpstreamProxy, address: str, host: str, port: int) -> socket.socket:
    """Connect to the proxy at one of its addresses, and return the open tunnel to a host. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (address, proxy.port))
        await open_tunnel(made, proxy, host, port)
    except BaseException:
        made.close()
        raise
    return made


async def open_tunnel(sock: socket.socket, proxy: UpstreamProxy, host: str, port: int) -> None:
    """Have the proxy that a socket is connected to open a tunnel to a host. Raises OSError."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, proxy.connect_request(host, port))
    received = b""
    while _END not in received:
        data = await loop.sock_recv(sock, LONGEST_HEAD)
        received += data
        if not data or len(received) > LONGEST_HEAD:
            raise TunnelRefusedError("the upstream proxy did not respond to CONNECT")
    check_response(received)


def check_response(head: bytes) -> None:
    """Raise TunnelRefusedError unless this is the whole response of a proxy that has opened the tunnel."""
    found = _STATUS.match(head)
    status = int(found[1]) if found else 0
    if status in (407, 401):  # tinyproxy sends 401 for wrong credentials, and 407 only without any
        raise TunnelRefusedError(f"the upstream proxy requires other credentials ({status}): check upstream_proxy")
    if not 200 <= status < 300:
        raise TunnelRefusedError(f"the upstream proxy refused the tunnel ({status or 'no HTTP status'})")
    if not head.endswith(_END) or head.count(_END) != 1:
        # TLS begins with our bytes: whatever is here already is not the provider's.
        raise TunnelRefusedError("the upstream proxy sent more than its response to CONNECT")
