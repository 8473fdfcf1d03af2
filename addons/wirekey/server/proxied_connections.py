"""Connections that a load balancer makes for clients: their real address is in a header of the PROXY protocol."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from mitmproxy.proxy import mode_servers
from mitmproxy.utils import human

from wirekey.core.proxy_protocol import LONGEST_HEADER, ProxyHeaderError, is_in, parse_proxy_header
from wirekey.core.wire.connection_handler import WireConnectionHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network

logger = logging.getLogger(__name__)

READ_BYTES = 4096


class ProxiedConnectionHandler(WireConnectionHandler):
    """Reads the header of the PROXY protocol before anything else sees the connection."""

    networks: Sequence[IPv4Network | IPv6Network] = ()
    """The load balancers. Connections from elsewhere have no header."""
    patience: Callable[[], float] = staticmethod(lambda: 10.0)
    """Returns the seconds for the header."""

    async def handle_client(self) -> None:
        """Handle the connection, from the client that the header names. Without a valid header, close it."""
        transport = self.transports[self.client]
        if is_in(self.client.peername[0], self.networks):
            assert isinstance(transport.reader, asyncio.StreamReader)
            assert transport.writer
            try:
                async with asyncio.timeout(self.patience()):
                    client = await read_header(transport.reader)
            except (ProxyHeaderError, OSError, TimeoutError) as error:
                reason = "no header in time" if isinstance(error, TimeoutError) else error
                logger.warning(
                    "%s is in listen.proxy_protocol, but its connection has no valid header of the PROXY protocol "
                    "(%s). It is closed.",
                    self.client.peername[0],
                    reason,
                )
                transport.writer.close()
                return
            if client:
                self.client.peername = client
                self.log_prefix = f"{human.format_address(client)}: "
        await super().handle_client()


async def read_header(reader: asyncio.StreamReader) -> tuple[str, int] | None:
    """Read a header and return its client. The bytes after it stay in the reader. Raises ProxyHeaderError."""
    data = b""
    while (header := parse_proxy_header(data)) is None:
        received = await reader.read(READ_BYTES)
        if not received:
            raise ProxyHeaderError("the connection ended within it")
        data += received
        if len(data) > 2 * LONGEST_HEADER + READ_BYTES:
            raise ProxyHeaderError("it is too long")
    buffer: Any = reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001  # no public way to give bytes back
    buffer[:0] = data[header.size :]
    return header.client


def read_headers_from(networks: Sequence[IPv4Network | IPv6Network], patience: Callable[[], float]) -> None:
    """Have mitmproxy read headers of the PROXY protocol on connections from these networks."""
    ProxiedConnectionHandler.networks = networks
    ProxiedConnectionHandler.patience = staticmethod(patience)
    installed: Any = mode_servers.ProxyConnectionHandler
    if not issubclass(installed, ProxiedConnectionHandler):
        both: Any = type(installed.__name__, (ProxiedConnectionHandler, installed), {})
        mode_servers.ProxyConnectionHandler = both  # type: ignore[misc]
