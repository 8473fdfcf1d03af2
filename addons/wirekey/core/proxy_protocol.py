"""The PROXY protocol, versions 1 and 2: the address of a client that a load balancer connects for.

https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt

Also the addresses in X-Forwarded-For. Does no I/O.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES = 16
"""Signature, version and command, family, length."""
LONGEST_LINE = 107
LONGEST_HEADER = 4096
"""Bytes of a header of version 2. Load balancers add some hundred bytes of extensions at most."""


class ProxyHeaderError(ValueError):
    """The bytes are not a header of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header of `size` bytes. `client`: address and port, or None if the load balancer speaks for itself."""

    client: tuple[str, int] | None
    size: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header at the beginning of what was received, or None if it is not complete.

    Raises ProxyHeaderError as soon as it cannot become one.
    """
    if data.startswith(SIGNATURE[: len(data)]) and data:
        check_command(data)
        return parse_version_2(data) if len(data) >= FIXED_BYTES else None
    beginning = b"PROXY "
    if not data.startswith(beginning[: len(data)]):
        raise ProxyHeaderError("it begins with neither PROXY nor the signature of version 2")
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise ProxyHeaderError("its line is too long")
        return None
    return ProxyHeader(client_of_line(data[:end]), end + 2)


def check_command(data: bytes) -> None:
    """Raise ProxyHeaderError if the beginning of a header of version 2 has another version or command."""
    if len(data) > len(SIGNATURE) and data[len(SIGNATURE)] not in (0x20, 0x21):
        raise ProxyHeaderError("its version or command is unknown")


def client_of_line(line: bytes) -> tuple[str, int] | None:
    """Return the client of a header of version 1, without its line end."""
    try:
        parts = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyHeaderError("its line is not ASCII") from None
    if parts[1] == "UNKNOWN":
        return None
    if len(parts) != 6 or parts[1] not in ("TCP4", "TCP6"):
        raise ProxyHeaderError("its line does not name a protocol, two addresses and two ports")
    kind = IPv4Address if parts[1] == "TCP4" else IPv6Address
    try:
        client, _ = kind(parts[2]), kind(parts[3])
    except ValueError:
        raise ProxyHeaderError("an address is not valid") from None
    port, _ = port_of(parts[4]), port_of(parts[5])
    return str(client), port


def port_of(text: str) -> int:
    """Return a port of a header of version 1."""
    if not (text.isdecimal() and len(text) <= 5 and int(text) <= 65535 and (text == "0" or text[0] != "0")):
        raise ProxyHeaderError("a port is not valid")
    return int(text)


def parse_version_2(data: bytes) -> ProxyHeader | None:
    """Return the header of version 2, of which at least the fixed part was received."""
    command, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    if length > LONGEST_HEADER:
        raise ProxyHeaderError("it is too long")
    size = FIXED_BYTES + length
    addresses = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}
    if command == 0x21 and family in addresses and length < 2 * addresses[family][1] + 4:
        raise ProxyHeaderError("it is too short for its addresses")
    if len(data) < size:
        return None
    if command == 0x20 or family not in addresses:
        return ProxyHeader(None, size)  # the load balancer itself, or no IP address
    kind, width = addresses[family]
    host = socket.inet_ntop(kind, data[FIXED_BYTES : FIXED_BYTES + width])
    (port,) = struct.unpack_from("!H", data, FIXED_BYTES + 2 * width)
    return ProxyHeader((host, port), size)


# Networks and X-Forwarded-For.


def is_in(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Return whether an address is in one of the networks. An IPv4 address in IPv6 form counts as IPv4."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found.version == network.version and found in network for network in networks)


def forwarded_client(peer: str, values: Sequence[str], trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return the client's address, by X-Forwarded-For if `peer` is a trusted proxy.

    `values`: the header's values in order. Each proxy adds the address that it saw, so the client is the last address
    that is not a trusted proxy. Addresses before it are not trusted. An unreadable address ends the search.
    """
    client = peer
    for entry in reversed([entry.strip() for value in values for entry in value.split(",")]):
        if not is_in(client, trusted):
            break
        try:
            client = str(ip_address(entry))
        except ValueError:
            break
    return client
