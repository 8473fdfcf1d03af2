"""The two certificates of the CA, made and read. No I/O.

Two tiers, because Java applies name constraints to what stands below the trusted root, never to the root itself.
The root's key signs once and is thrown away; what is kept is the key of an intermediate that can only speak for the
permitted hosts (RFC 5280, 4.2.1.10: a permitted name permits its subdomains too) and the gateway on this machine, and
for TLS servers. Both carry the constraints. As two addresses are permitted, all others are refused.
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

from wirekey.x509 import (
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
"""How far back validity begins: a client's clock may be behind ours."""

LOCALHOST = "localhost"
LOOPBACK = ("127.0.0.1", "::1")
GATEWAY = [x509.DNSName(LOCALHOST), *(x509.IPAddress(ipaddress.ip_network(each)) for each in LOOPBACK)]
"""What the gateway is called by programs of this machine, as a CA permits it."""


def make_certificates(hosts: Iterable[str], now: datetime) -> bytes:
    """Return the PEM of a new CA: the intermediate's key, the intermediate, the root, as mitmproxy reads it.

    Raises ValueError if a host is no ASCII name, or there is none.
    """
    permitted = [x509.DNSName(host) for host in sorted({host.lower() for host in hosts})]
    if not permitted:
        raise ValueError("a CA needs at least one host that it is good for")
    constraints = x509.NameConstraints(permitted_subtrees=[*permitted, *GATEWAY], excluded_subtrees=None)
    root_key, key = new_key(), new_key()
    # Two CAs of one name confuse clients that find issuers by name: each gets its own.
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
    """Return intermediate and root of what `make_certificates` made.

    Raises ValueError, as a clause for a person, where the parts are not there or do not belong together. Whether
    they are still valid is not looked at.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise ValueError("holds no private key that can be read") from error
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError("holds no certificate that can be read") from error
    if len(certificates) != 2:
        raise ValueError("is not a CA of Wirekey's making: it should hold a working CA and its root")
    working, root = certificates
    if key.public_key() != working.public_key():
        raise ValueError("holds a key and a certificate that do not belong together")
    try:
        working.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ValueError("holds a root that did not sign its working CA") from error
    if not permitted_hosts(working):
        raise ValueError("holds a CA without name constraints, which could speak for any site")
    return working, root


def permitted_hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the providers' names that a CA may speak for (and their subdomains); none where it is not constrained."""
    names = (name.value for name in _permitted(certificate) if isinstance(name, x509.DNSName))
    return tuple(name for name in names if name != LOCALHOST)


def permits_gateway(certificate: x509.Certificate) -> bool:
    """Return whether a CA may speak for the gateway on this machine; those made by former versions may not."""
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
    """Return the same for the gateway, by all that programs of this machine call it."""
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
