"""The request for an upstream connection, the addresses it may use, and the errors when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mitmproxy.connection import Connection, Server
from mitmproxy.proxy.layers.http import GetHttpConnection, Http1Client, Http2Client

from wirekey.core.egress.upstream_proxy import open_tunnel
from wirekey.core.errors import Fault, Refusal
from wirekey.core.wire.happy_eyeballs import connect

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from mitmproxy.proxy.layer import Layer

    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.core.wire.happy_eyeballs import Address

ADDRESS_REFUSED = "address refused: "
"""The prefix of the error that the server_connect hook sets on a connection whose address is not allowed."""

NO_STREAM = -1
"""The id of a stream that does not exist: events for it are dropped."""

requested_address: WeakKeyDictionary[Connection, tuple[str, int]] = WeakKeyDictionary()
"""The host and port that a connection was requested for. Its `address` becomes the IP address it connects to."""

checked_addresses: WeakKeyDictionary[Connection, tuple[str, ...]] = WeakKeyDictionary()
"""The IP addresses that a connection may use, in the order in which they are tried."""


upstream_proxies: WeakKeyDictionary[Connection, UpstreamProxy] = WeakKeyDictionary()
"""The proxy through which a connection is opened. Its checked addresses are then those of the proxy."""


async def dial(server: Server) -> tuple[socket.socket, Address]:
    """Connect to one of the checked addresses of a server, or to the server through its proxy. Raises OSError."""
    sock, address = await connect(addresses_to_connect(server))
    if proxy := upstream_proxies.get(server):
        try:
            await open_tunnel(sock, proxy, *requested_address[server])
        except BaseException:
            sock.close()
            raise
    return sock, address


def addresses_to_connect(server: Server) -> list[tuple[str, int]]:
    """Return the addresses to connect to: the checked ones, or else the server's own."""
    assert server.address
    host, port = server.address[:2]
    return [(address, port) for address in checked_addresses.get(server, (host,))]


class GetUpstreamConnection(GetHttpConnection):
    """Asks for a connection to a host, which may be an open one that no other request uses.

    mitmproxy's command also returns connections that have failed: one failure would then fail every later request to
    the same address.
    """

    force_new = False
    """Whether the connection must not have been used before."""
    timed_out = False
    """Whether the connection was not open within `limit`."""
    limit = 10.0
    """Seconds."""
    can_send: Callable[[Connection], bool] = staticmethod(lambda _: True)
    """Returns whether a request can be sent on an open connection now."""

    def connection_spec_matches(self, connection: Connection) -> bool:
        """Return whether a connection was opened for the same host, has not failed, and can be used now."""
        return (
            isinstance(connection, Server)
            and not connection.error
            and requested_address.get(connection, connection.address) == self.address
            and connection.tls == self.tls
            and connection.via == self.via
            and connection.transport_protocol == self.transport_protocol
            and self.can_send(connection)
        )


def detach_stream(connection: Layer, stream_id: int) -> None:
    """Make an upstream connection drop what it still receives for a stream, whose next attempt may reuse its id.

    The late end of a cancelled attempt would otherwise be taken for the end of the next one.
    """
    inner = connection.context.layers[-1]
    if isinstance(inner, Http1Client) and inner.stream_id == stream_id:
        inner.stream_id = NO_STREAM
    elif isinstance(inner, Http2Client):
        upstream_id = inner.our_stream_id.pop(stream_id, None)
        if upstream_id is not None:
            inner.their_stream_id[upstream_id] = NO_STREAM


def connect_refusal(error: str, command: GetUpstreamConnection) -> Refusal:
    """Return the error that the client gets when the provider could not be reached. `error`: mitmproxy's."""
    host = command.address[0]
    if command.timed_out:
        return Refusal(
            504,
            "upstream_timeout",
            f"No connection to {host} within {command.limit:g} s (timeouts.connect).",
            Fault.PROVIDER,
        )
    _, refused, reason = error.partition(ADDRESS_REFUSED)
    if refused:
        return Refusal(403, "address_refused", f"{host}: {reason}", Fault.OPERATOR)
    if "certificate" in error.lower():
        return Refusal(
            502,
            "upstream_not_trusted",
            f"The certificate of {host} could not be verified, so no key was sent. "
            "If it is signed by a private CA, set upstream_ca_file to the file of that CA.",
            Fault.OPERATOR,
        )
    return Refusal(502, "upstream_unreachable", f"{host} could not be reached: {error}", Fault.PROVIDER)
