"""Public keys that verify tokens, from a JSON Web Key Set (RFC 7517) or a PEM file. Pure.

Each key is bound to the algorithms that fit it, so that a token's header cannot make it be used in another way. Shared
secrets are not accepted, so that a public key is never used as one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

from wirekey.features.jwt.reading import each_once

if TYPE_CHECKING:
    from collections.abc import Iterable

RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
FITTING = {
    ("RSA", None): RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""(kty, crv) → the algorithms that such a key may verify."""
MEMBERS = {"RSA": ("e", "n"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The public members. Together with kty they make the thumbprint (RFC 7638)."""

CURVES = ("secp256r1", "secp384r1", "secp521r1")
RSA_BITS = range(2048, 8193)
RSA_EXPONENT_BITS = 33
"""The bound keeps verification fast: a large public exponent makes it slow."""
MAX_KEYS = 100

VERIFIERS = get_default_algorithms()

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class KeySetError(Exception):
    """A document is not a key set, or a file is not a public key. The message follows the name of the source."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and the algorithms that it may verify. `thumbprint` identifies it (RFC 7638)."""

    public: PublicKey
    algorithms: tuple[str, ...]
    thumbprint: str
    kid: str | None = None

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Return whether the signature was made by this key with an algorithm that it may be used with."""
        return algorithm in self.algorithms and VERIFIERS[algorithm].verify(signed, self.public, signature)


class KeySet:
    """Keys by their ids. If two keys share an id, neither is used."""

    def __init__(self, keys: Iterable[VerificationKey] = ()) -> None:
        distinct = {(key.kid, key.thumbprint): key for key in keys}.values()
        times = Counter(key.kid for key in distinct)
        self._keys = tuple(key for key in distinct if key.kid is None or times[key.kid] == 1)
        self._by_kid = {key.kid: key for key in self._keys if key.kid is not None}
        self._thumbprints = frozenset(key.thumbprint for key in self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key of an id. For a token without an id, return the only key that fits, or None."""
        if kid is not None:
            key = self._by_kid.get(kid)
            return key if key and algorithm in key.algorithms else None
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None

    def holds(self, thumbprint: str) -> bool:
        """Return whether a key of this thumbprint is in the set."""
        return thumbprint in self._thumbprints


def key_set(document: bytes, allowed: tuple[str, ...]) -> KeySet:
    """Parse a JWKS. Skips keys that cannot be used here. Raises KeySetError if it is not a JWKS."""
    try:
        content = json.loads(document.decode(), object_pairs_hook=each_once)
    except (ValueError, RecursionError) as error:
        raise KeySetError("is not JSON") from error
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list):
        raise KeySetError("is not a JSON Web Key Set: it has no list of keys")
    if len(keys) > MAX_KEYS:
        raise KeySetError(f"has {len(keys)} keys; at most {MAX_KEYS} are allowed")
    return KeySet(key for key in (verification_key(member, allowed) for member in keys) if key)


def verification_key(jwk: Any, allowed: tuple[str, ...]) -> VerificationKey | None:
    """Return the key of a JWK, or None if it does not verify signatures by any of these algorithms."""
    if not isinstance(jwk, dict) or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    operations, kid, named = jwk.get("key_ops", ["verify"]), jwk.get("kid"), jwk.get("alg")
    if not isinstance(operations, list) or "verify" not in operations or not (kid is None or isinstance(kid, str)):
        return None
    kty, crv = jwk.get("kty"), jwk.get("crv")
    if not isinstance(kty, str) or not (crv is None or isinstance(crv, str)):
        return None
    fitting = FITTING.get((kty, None if kty == "RSA" else crv), ())
    algorithms = tuple(name for name in fitting if name in allowed and named in (None, name))
    if not algorithms:
        return None
    public = {name: jwk.get(name) for name in ("kty", *MEMBERS[kty])}
    try:
        key = PyJWK(public, algorithms[0]).key
    except (PyJWTError, ValueError, TypeError, binascii.Error):
        return None
    return VerificationKey(key, algorithms, thumbprint(public_jwk(key)), kid) if is_strong(key) else None


def key_of_pem(pem: bytes, allowed: tuple[str, ...]) -> VerificationKey:
    """Parse a public key in PEM form. Raises KeySetError."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeySetError("contains no public key in PEM form (-----BEGIN PUBLIC KEY-----)") from error
    if not isinstance(key, PublicKey) or not is_strong(key):
        raise KeySetError("contains a key that is too weak, or that is not RSA, P-256, P-384, P-521 or Ed25519")
    jwk = public_jwk(key)
    fitting = FITTING.get((jwk["kty"], jwk.get("crv")), ())
    algorithms = tuple(name for name in fitting if name in allowed)
    if not algorithms:
        raise KeySetError(
            f"contains a key for {' or '.join(fitting) or 'no known algorithm'}, which the algorithms of its issuer do "
            "not include"
        )
    return VerificationKey(key, algorithms, thumbprint(jwk))


def is_strong(key: object) -> bool:
    """Return whether a key is of a supported kind and size."""
    if isinstance(key, RSAPublicKey):
        return key.key_size in RSA_BITS and key.public_numbers().e.bit_length() <= RSA_EXPONENT_BITS
    if isinstance(key, EllipticCurvePublicKey):
        return key.curve.name in CURVES
    return isinstance(key, Ed25519PublicKey)


def public_jwk(key: PublicKey) -> dict[str, str]:
    """Return a public key as a JWK with only the members that it needs."""
    if isinstance(key, RSAPublicKey):
        jwk = VERIFIERS["RS256"].to_jwk(key, as_dict=True)
    elif isinstance(key, EllipticCurvePublicKey):
        jwk = VERIFIERS["ES256"].to_jwk(key, as_dict=True)
    else:
        jwk = VERIFIERS["EdDSA"].to_jwk(key, as_dict=True)
    return {name: jwk[name] for name in ("kty", *MEMBERS[jwk["kty"]])}


def thumbprint(jwk: dict[str, str]) -> str:
    """Return the SHA-256 thumbprint of a public key (RFC 7638), in base64url."""
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
