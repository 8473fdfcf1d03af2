"""Builds X.509 certificates for the CA, the simulator and TLS servers. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

type Period = tuple[datetime, datetime]
"""The times from and until which a certificate is valid."""

FOR_TLS_SERVERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True, slots=True)
class Issuer:
    """The signer of a certificate: a CA, or the certificate itself."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The extension that identifies the signer's key."""
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: Issuer, period: Period
) -> x509.CertificateBuilder:
    """Return a builder with everything but the extensions."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
    )


def ca_builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: Issuer, period: Period, path_length: int
) -> x509.CertificateBuilder:
    """Return a builder for a CA certificate. `path_length` is the number of CA levels allowed below it."""
    return (
        builder(subject, key, issuer, period)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(issuer.key_identifier, critical=False)
    )


def server_leaf(
    names: Iterable[x509.GeneralName],
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: Issuer,
    period: Period,
) -> x509.Certificate:
    """Return the signed certificate of a TLS server for `names`."""
    return (
        builder(subject, key, issuer, period)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(FOR_TLS_SERVERS, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer.key_identifier, critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return the key usage of a CA, or of a TLS server."""
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


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM without a password. Write it only to files that others cannot read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates as one PEM text."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)
