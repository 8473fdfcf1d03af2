"""The simulator's own root and server certificate. The root's key is discarded once it has signed."""

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
from cryptography.x509.oid import NameOID

from wirekey.core.x509 import Issuer, ca_builder, new_key, private_pem, public_pem, server_leaf
from wirekey_simulator.hosts import BEDROCK_HOSTS
from wirekey_simulator.registry import HOSTS

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("localhost", *HOSTS, *BEDROCK_HOSTS)
ADDRESSES = ("127.0.0.1", "::1")
LIFETIME = dt.timedelta(days=365)
RENEWAL = dt.timedelta(days=14)
EARLIER = dt.timedelta(days=1)


def prepare_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the server's PEM file (key, certificate) and the PEM file of the root to trust.

    Creates them in `folder` if they are missing, broken or expire within two weeks. Raises OSError if the folder cannot
    be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server, root = folder / "simulator.pem", folder / "simulator-ca.pem"
    if not _is_good(server, root):
        key, leaf, issuer = _make()
        _write(server, key + leaf + issuer, 0o600)
        _write(root, issuer, 0o644)
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


def _make() -> tuple[bytes, bytes, bytes]:
    """Return the server's key, its certificate and the root, as PEM."""
    now = dt.datetime.now(dt.UTC)
    period = now - EARLIER, now + LIFETIME
    key, issuer = new_key(), Issuer(_name("Wirekey simulator root"), new_key())
    root = ca_builder(issuer.name, issuer.key.public_key(), issuer, period, path_length=0)
    leaf = server_leaf(_alternative_names(), _name("Wirekey simulator"), key.public_key(), issuer, period)
    return private_pem(key), public_pem(leaf), public_pem(root.sign(issuer.key, hashes.SHA256()))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(name).chmod(mode)
    Path(name).replace(path)
