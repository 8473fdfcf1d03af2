"""What all certificates that are made here have in common: the CA's, the simulator's, and those of servers. No I/O."""

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
"""From when, until when."""

FOR_TLS_SERVERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs a certificate: itself, or a CA."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: Issuer, period: Period
) -> x509.CertificateBuilder:
    """Give what each certificate says, still without extensions."""
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
    """Give what each CA's certificate says. `path_length`: of the CAs that may stand below it."""
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
    """Give the certificate of a TLS server that is called by `names`."""
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
    """Give what a CA's key may do, or a server's."""
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
    """Give a key without a password: whoever gets it keeps it in a file of its owner's alone."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)
