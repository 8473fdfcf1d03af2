"""Asking mitmproxy for an upstream connection, and saying in our words why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mitmproxy.connection import Connection, Server
from mitmproxy.proxy.layers.http import GetHttpConnection

from wirekey.errors import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS_REFUSED = "address refused: "
"""Begins the error that the server_connect hook sets on a connection that must not be dialled."""

requested_address: WeakKeyDictionary[Connection, tuple[str, int]] = WeakKeyDictionary()
"""The name and port that a connection was asked for: its address becomes the one checked address it dials."""


checked_addresses: WeakKeyDictionary[Connection, tuple[str, ...]] = WeakKeyDictionary()
"""The IP addresses that may be dialled for a connection, in the order in which they are tried."""


def addresses_to_connect(server: Server) -> list[tuple[str, int]]:
    """Give the addresses to dial: those that were checked, else the one that the server has."""
    assert server.address
    host, port = server.address[:2]
    return [(address, port) for address in checked_addresses.get(server, (host,))]


class GetUpstreamConnection(GetHttpConnection):
    """Reuses a connection by the name it was asked for; never one that has failed, or is busy with another request.

    The stock command answers every later request to an address from a connection that failed once.
    """

    force_new = False
    """Whether a connection that was used before will not do."""
    timed_out = False
    limit = 10.0
    """Seconds until it must be there."""
    can_send: Callable[[Connection], bool] = staticmethod(lambda _: True)
    """Tells of a connection that is there already whether a request can go out on it now."""

    def connection_spec_matches(self, connection: Connection) -> bool:
        return (
            isinstance(connection, Server)
            and not connection.error
            and requested_address.get(connection, connection.address) == self.address
            and connection.tls == self.tls
            and connection.via == self.via
            and connection.transport_protocol == self.transport_protocol
            and self.can_send(connection)
        )


def connect_refusal(error: str, command: GetUpstreamConnection) -> Refusal:
    """Say why the provider could not be reached."""
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
            "If it is signed by a private CA, name that CA's file in upstream_ca_file.",
            Fault.OPERATOR,
        )
    return Refusal(502, "upstream_unreachable", f"{host} could not be reached: {error}", Fault.PROVIDER)
