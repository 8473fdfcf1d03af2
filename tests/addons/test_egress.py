"""The addresses of a name are dialled in order. If one of them is not allowed, none is dialled."""

from __future__ import annotations

import asyncio
import socket

import pytest
from mitmproxy.connection import Server
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.test import tflow

from wirekey.core.addons.egress import Egress
from wirekey.core.calls.services import Services
from wirekey.core.wire.upstream_connection import ADDRESS_REFUSED, addresses_to_connect, requested_address

V6, V4 = "2606:4700::6810:85e5", "104.16.133.229"
NAME = ("api.openai.com", 443)


def resolved(monkeypatch, *addresses: str, services: Services | None = None) -> Server:
    """Return a server whose name resolved to these addresses."""
    asked = []

    async def looked_up(self, host, port, **_):
        asked.append((host, port))
        families = {address: socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses}
        return [(families[address], socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", looked_up)
    server = Server(address=NAME)
    data = ServerConnectionHookData(server, tflow.tclient_conn())
    asyncio.run(Egress(services or Services()).server_connect(data))
    assert asked == [NAME], "a name is resolved once"
    return server


def test_both_families_are_dialled_in_turn(monkeypatch):
    server = resolved(monkeypatch, V6, "2606:4700::6810:84e5", V4)
    assert [address for address, _ in addresses_to_connect(server)] == [V6, V4, "2606:4700::6810:84e5"]
    assert requested_address[server] == NAME
    assert server.address == (V6, 443)


@pytest.mark.parametrize("inside", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "fd00::1", "::ffff:10.0.0.1"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_name_with_one_internal_address_is_not_dialled(monkeypatch, inside, place):
    addresses = [V6, V4]
    addresses.insert(place, inside)
    server = resolved(monkeypatch, *addresses)
    assert server.error.startswith(ADDRESS_REFUSED)
