"""The simulator's own root and server certificate. The root's key is thrown away once it has signed."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wirekey.simulator.hosts import BEDROCK_HOSTS, HOSTS

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("localhost", *HOSTS, *BEDROCK_HOSTS)
ADDRESSES = ("127.0.0.1", "::1")
LIFETIME = dt.timedelta(days=365)
RENEWAL = dt.timedelta(days=14)
EARLIER = dt.timedelta(days=1)


def prepare_certificate(folder: Path) -> tuple[Path, Path]:
    """Give the server's PEM file (key, certificate) and the PEM file of the root to trust.

    Made in `folder` where they are missing, broken, or end within two weeks. Raises OSError where the
    folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server, root = folder / "simulator.pem", folder / "simulator-ca.pem"
    if not _is_good(server, root):
        key, certificates = _make()
        _write(server, key + b"".join(certificates), 0o600)
        _write(root, certificates[-1], 0o644)
    return server, root


def _is_good(server: Path, root: Path) -> bool:
    try:
        pem = server.read_bytes()
        leaf, issuer = x509.load_pem_x509_certificates(pem)
        [trusted] = x509.load_pem_x509_certificates(root.read_bytes())
        key = serialization.load_pem_private_key(pem, None)
        leaf.verify_directly_issued_by(trusted)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    ends = min(leaf.not_valid_after_utc, issuer.not_valid_after_utc)
    return (
        trusted == issuer
        and key.public_key() == leaf.public_key()
        and set(names) == set(_alternative_names())
        and ends - dt.datetime.now(dt.UTC) > RENEWAL
    )


def _alternative_names() -> Sequence[x509.GeneralName]:
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    return [*map(x509.DNSName, NAMES), *addresses]


def _make() -> tuple[bytes, list[bytes]]:
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Wirekey simulator root")])
    root = (
        _builder(issuer, issuer, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Wirekey simulator")])
    leaf = (
        _builder(subject, issuer, leaf_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = leaf_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, [certificate.public_bytes(serialization.Encoding.PEM) for certificate in (leaf, root)]


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + LIFETIME)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(name).chmod(mode)
    Path(name).replace(path)
