"""The other roots that clients trust.

SSL_CERT_FILE and its like replace all roots, so the bundle includes the others.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import ssl
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs12
from cryptography.utils import CryptographyDeprecationWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)
"""Variables that point to an administrator's own roots, such as those of a company's proxy."""

SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
TRUSTSTORE_PASSWORD = b"changeit"
"""Java's default. A truststore has no secrets, but the format requires a password."""

KEY_DERIVATION_ROUNDS = 10_000
BLOCK = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----(.+?)-----END", re.DOTALL)


def root_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the existing files of roots that programs on this machine trust."""
    import certifi

    named = [environ[name] for name in ROOT_VARIABLES if environ.get(name)]
    system = next((name for name in SYSTEM_FILES if Path(name).is_file()), None)
    candidates = [certifi.where(), *([system] if system else []), *named]
    return [file for file in map(Path, dict.fromkeys(candidates)) if file.is_file()]


def certificates_in(pem: bytes) -> Iterable[bytes]:
    """Yield the DER of each certificate in a PEM file. Skips what cannot be parsed."""
    for block in BLOCK.findall(pem):
        try:
            yield base64.b64decode(b"".join(block.split()), validate=True)
        except binascii.Error:
            continue


def bundle(ours: x509.Certificate, others: Iterable[bytes]) -> bytes:
    """Return one PEM with our root first, then every other root of the PEM files `others`, without duplicates.

    Previous roots of Wirekey are left out: a bundle of ours may be among `others`.
    """
    own = ours.public_bytes(Encoding.DER)
    found: dict[bytes, bytes] = {}
    for pem in others:
        for der in certificates_in(pem):
            if der != own and b"Wirekey root " not in der:
                found.setdefault(hashlib.sha256(der).digest(), der)
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in (own, *found.values())).encode()


def truststore(pem: bytes) -> bytes:
    """Return the certificates of a bundle as a PKCS #12 file whose entries Java treats as trusted roots."""
    entries = []
    for number, der in enumerate(certificates_in(pem)):
        try:
            with warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning):
                certificate = x509.load_der_x509_certificate(der)
        except ValueError:
            # For example an old root with a serial number that is no longer allowed.
            continue
        entries.append(pkcs12.PKCS12Certificate(certificate, b"wirekey" if number == 0 else b"root-%d" % number))
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(KEY_DERIVATION_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(TRUSTSTORE_PASSWORD)
    )
    return pkcs12.serialize_java_truststore(entries, encryption)
