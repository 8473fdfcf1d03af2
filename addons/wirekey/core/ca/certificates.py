"""Creates and reads the two certificates of the CA. No I/O.

There are two tiers because Java applies name constraints to certificates below the trusted root, never to the root
itself. The root's key signs once and is discarded. The key that is kept belongs to an intermediate that can certify
only the permitted hosts (RFC 5280, 4.2.1.10: a permitted name includes its subdomains) and the gateway on this machine,
and only for TLS servers. Both certificates have the constraints. As two addresses are permitted, all others are not.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wirekey.core.x509 import (
    FOR_TLS_SERVERS,
    Issuer,
    ca_builder,
    new_key,
    private_pem,
    public_pem,
    server_leaf,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LIFETIME = timedelta(days=365)
LEAF_LIFETIME = timedelta(hours=1)
GATEWAY_LIFETIME = timedelta(days=8)
EARLIER = timedelta(days=2)
"""Validity begins this long ago, as a client's clock may be behind."""

LOCALHOST = "localhost"
LOOPBACK = ("127.0.0.1", "::1")
GATEWAY = [x509.DNSName(LOCALHOST), *(x509.IPAddress(ipaddress.ip_network(each)) for each in LOOPBACK)]
"""The names and addresses of the gateway for programs of this machine, as name constraints."""


def make_certificates(hosts: Iterable[str], now: datetime) -> bytes:
    """Return the PEM of a new CA in mitmproxy's order: the intermediate's key, the intermediate, the root.

    Raises ValueError if a host is not an ASCII name, or there are no hosts.
    """
    permitted = [x509.DNSName(host) for host in sorted({host.lower() for host in hosts})]
    if not permitted:
        raise ValueError("a CA needs at least one host")
    constraints = x509.NameConstraints(permitted_subtrees=[*permitted, *GATEWAY], excluded_subtrees=None)
    root_key, key = new_key(), new_key()
    # Two CAs with one name confuse clients that find issuers by name, so each CA has a name of its own.
    mark = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()).digest.hex()[:8]
    issuer, subject = Issuer(_name(f"Wirekey root {mark}"), root_key), _name(f"Wirekey working CA {mark}")
    period = now - EARLIER, now + LIFETIME
    root, working = (
        ca_builder(name, each.public_key(), issuer, period, path_length).add_extension(constraints, critical=True)
        for name, each, path_length in ((issuer.name, root_key, 1), (subject, key, 0))
    )
    # Nothing but TLS servers: no mail, no code, no client certificates.
    working = working.add_extension(FOR_TLS_SERVERS, critical=False)
    signed = (each.sign(root_key, hashes.SHA256()) for each in (working, root))
    return private_pem(key) + public_pem(*signed)


def read_certificates(pem: bytes) -> tuple[x509.Certificate, x509.Certificate]:
    """Return intermediate and root from the PEM of `make_certificates`. Does not check their validity period.

    Raises ValueError with a clause for a person if parts are missing or do not belong together.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise ValueError("has no readable private key") from error
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError("has no readable certificate") from error
    if len(certificates) != 2:
        raise ValueError("is not a CA that Wirekey created: it must have a working CA and its root")
    working, root = certificates
    if key.public_key() != working.public_key():
        raise ValueError("has a key and a certificate that do not belong together")
    try:
        working.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ValueError("has a root that did not sign its working CA") from error
    if not permitted_hosts(working):
        raise ValueError("has a CA without name constraints, which could certify any site")
    return working, root


def permitted_hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the provider hosts that a CA may certify (with their subdomains). Empty without name constraints."""
    names = (name.value for name in _permitted(certificate) if isinstance(name, x509.DNSName))
    return tuple(name for name in names if name != LOCALHOST)


def permits_gateway(certificate: x509.Certificate) -> bool:
    """Return whether a CA may certify the gateway on this machine. Those of previous versions may not."""
    permitted = _permitted(certificate)
    return all(name in permitted for name in GATEWAY)


def _permitted(certificate: x509.Certificate) -> Sequence[x509.GeneralName]:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return ()
    return constraints.permitted_subtrees or ()


def issue(pem: bytes, host: str, now: datetime) -> bytes:
    """Return the PEM (key and chain) of a server certificate for `host`, as of `now`.

    Raises ValueError as `read_certificates` does.
    """
    return _issue(pem, [x509.DNSName(host)], host, (now - EARLIER, now + LEAF_LIFETIME))


def issue_for_gateway(pem: bytes, now: datetime) -> bytes:
    """Return the PEM of a server certificate for the gateway, with its names and addresses on this machine."""
    addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in LOOPBACK]
    return _issue(pem, [x509.DNSName(LOCALHOST), *addresses], LOCALHOST, (now - EARLIER, now + GATEWAY_LIFETIME))


def _issue(pem: bytes, names: Iterable[x509.GeneralName], common: str, period: tuple[datetime, datetime]) -> bytes:
    working, _ = read_certificates(pem)
    signer = serialization.load_pem_private_key(pem, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = new_key()
    leaf = server_leaf(names, _name(common), key.public_key(), Issuer(working.subject, signer), period)
    return private_pem(key) + public_pem(leaf, working)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, common), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Wirekey")]
    )
