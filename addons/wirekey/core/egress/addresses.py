"""Which addresses may be dialled, and which names and addresses mean this machine."""

from __future__ import annotations

import contextlib
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

METADATA = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's, a public address
        "169.254.0.0/16",
        "100.100.100.200/32",  # Alibaba Cloud's
        "192.0.0.192/32",  # Oracle Cloud's
        "fd00:ec2::/32",  # EC2's
        "fd20:ce::254/128",  # Google Cloud's
    )
)
NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))


PRIVATE = tuple(ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))


def embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address inside an IPv6 address: mapped, 6to4, Teredo, NAT64 or compatible."""
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in net for net in NAT64) or int(address) >> 32 == 0:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def reason_to_refuse(text: str) -> str | None:
    """Return why an address may not be dialled, or None if it may. `text` comes from the resolver."""
    try:
        address: Address = ip_address(text)
    except ValueError:
        return "not an IP address"
    if isinstance(address, IPv6Address):
        if address.scope_id:
            return "a scoped address"
        inner = embedded_ipv4(address)
        if inner is not None:
            return reason_to_refuse(str(inner)) or "an IPv4 address inside an IPv6 one"
    if any(address in network for network in METADATA if network.version == address.version):
        return "a cloud metadata address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_multicast:
        return "a multicast address"
    if not address.is_global:
        return "a private or reserved address"
    if is_own(address):
        return "an address of this machine"
    return None


def is_private_network(text: str) -> bool:
    """Return whether an address belongs to a private network, where a company has its own servers (RFC 1918, 4193)."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    metadata = any(address in network for network in METADATA if network.version == address.version)
    return not metadata and any(address in network for network in PRIVATE if network.version == address.version)


def is_own(address: Address) -> bool:
    """Return whether an interface of this machine has the address: only then can a socket bind to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def is_own_name(name: str) -> bool:
    """Return whether a host name always means this machine."""
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def is_loopback(address: str) -> bool:
    """Return whether an address is a loopback address."""
    with contextlib.suppress(ValueError):
        ip = ip_address(address.partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None)
        return (mapped or ip).is_loopback
    return False


def is_address(name: str) -> bool:
    """Return whether a host name is an IP address."""
    with contextlib.suppress(ValueError):
        return bool(ip_address(name))
    return False
