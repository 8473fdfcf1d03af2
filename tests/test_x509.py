"""A strict client accepts these certificates, and only for their purpose."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from wirekey.core.x509 import Issuer, builder, ca_builder, new_key, private_pem, public_pem, server_leaf

NOW = datetime.now(UTC).replace(microsecond=0)
PERIOD = NOW - timedelta(days=1), NOW + timedelta(days=1)
NAMES = [x509.DNSName("api.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]


def named(common):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


@pytest.fixture(scope="module")
def issuer():
    return Issuer(named("root"), new_key())


@pytest.fixture(scope="module")
def root(issuer):
    return ca_builder(issuer.name, issuer.key.public_key(), issuer, PERIOD, 0).sign(issuer.key, hashes.SHA256())


@pytest.fixture(scope="module")
def leaf(issuer):
    return server_leaf(NAMES, named("server"), new_key().public_key(), issuer, PERIOD)


def verified(leaf, root, name, when=NOW):
    verifier = PolicyBuilder().store(Store([root])).time(when).build_server_verifier(name)
    return verifier.verify(leaf, [])


@pytest.mark.parametrize("name", NAMES)
def test_a_server_is_trusted_under_each_of_its_names(leaf, root, name):
    assert verified(leaf, root, name) == [leaf, root]


@pytest.mark.parametrize(
    ("name", "when"),
    [
        (x509.DNSName("another.example"), NOW),
        (x509.IPAddress(ipaddress.ip_address("127.0.0.2")), NOW),
        (NAMES[0], PERIOD[0] - timedelta(seconds=1)),
        (NAMES[0], PERIOD[1] + timedelta(seconds=1)),
    ],
)
def test_a_server_is_not_trusted_under_another_name_or_at_another_time(leaf, root, name, when):
    with pytest.raises(VerificationError):
        verified(leaf, root, name, when)


def test_a_server_cannot_sign_certificates_and_a_ca_cannot_be_a_server(leaf, root):
    for certificate, is_ca in ((leaf, False), (root, True)):
        extensions = certificate.extensions
        assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is is_ca
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert (usage.value.key_cert_sign, usage.value.digital_signature) == (is_ca, not is_ca)


def test_a_ca_is_found_by_its_key_identifier(leaf, root):
    own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    for certificate in (leaf, root):
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert found.key_identifier == own


def test_serial_numbers_are_unique(issuer):
    key = new_key().public_key()
    made = [builder(named("x"), key, issuer, PERIOD).sign(issuer.key, hashes.SHA256()) for _ in range(20)]
    assert len({each.serial_number for each in made}) == 20


def test_key_and_chain_are_in_one_file_as_servers_read_it(issuer, root, leaf):
    pem = private_pem(issuer.key) + public_pem(leaf, root)
    read = serialization.load_pem_private_key(pem, None)
    assert read.private_numbers() == issuer.key.private_numbers()
    assert x509.load_pem_x509_certificates(pem) == [leaf, root]


def test_the_key_of_an_issuer_is_not_in_its_repr(issuer):
    assert "key=" not in repr(issuer)
