"""Public keys that verify tokens: from a JSON Web Key Set (RFC 7517), or a PEM file. Pure.

Each key is bound to the algorithms that fit it, so that a token's header cannot make it be used in another way; there
are no shared secrets among them, so that a public key is never taken for one.
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

from wirekey.identity.jwt_reading import each_once

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
"""(kty, crv): the algorithms in whose signatures such a key may be believed."""
MEMBERS = {"RSA": ("e", "n"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The public members, which are also those of a thumbprint (RFC 7638) besides kty."""

CURVES = ("secp256r1", "secp384r1", "secp521r1")
RSA_BITS = range(2048, 8193)
RSA_EXPONENT_BITS = 33
"""A public exponent may be chosen so that each verification takes long."""
MOST_KEYS = 100

VERIFIERS = get_default_algorithms()

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class KeySetError(Exception):
    """Why a document is no key set, or a file no public key: a sentence's end, after what it is about."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    public: PublicKey
    algorithms: tuple[str, ...]
    thumbprint: str
    kid: str | None = None

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Tell whether the signature is this key's, by an algorithm that it may be used with."""
        return algorithm in self.algorithms and VERIFIERS[algorithm].verify(signed, self.public, signature)


class KeySet:
    """Keys by their ids. An id that two keys have is nobody's."""

    def __init__(self, keys: Iterable[VerificationKey] = ()) -> None:
        distinct = {(key.kid, key.thumbprint): key for key in keys}.values()
        times = Counter(key.kid for key in distinct)
        self._keys = tuple(key for key in distinct if key.kid is None or times[key.kid] == 1)
        self._by_kid = {key.kid: key for key in self._keys if key.kid is not None}
        self._thumbprints = frozenset(key.thumbprint for key in self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Give the key of that id; for a token without one, the only key that it can be."""
        if kid is not None:
            key = self._by_kid.get(kid)
            return key if key and algorithm in key.algorithms else None
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None

    def holds(self, thumbprint: str) -> bool:
        return thumbprint in self._thumbprints


def key_set(document: bytes, allowed: tuple[str, ...]) -> KeySet:
    """Read a JWKS. Keys that cannot be used here are passed over. Raises KeySetError where it is no JWKS at all."""
    try:
        content = json.loads(document.decode(), object_pairs_hook=each_once)
    except (ValueError, RecursionError) as error:
        raise KeySetError("is no JSON") from error
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list):
        raise KeySetError("is no JSON Web Key Set: it has no list of keys")
    if len(keys) > MOST_KEYS:
        raise KeySetError(f"has {len(keys)} keys; {MOST_KEYS} are the most")
    return KeySet(key for key in (usable(member, allowed) for member in keys) if key)


def usable(jwk: Any, allowed: tuple[str, ...]) -> VerificationKey | None:
    """Give the key of a JWK; None where it is not for verifying signatures by any of these algorithms."""
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
    return VerificationKey(key, algorithms, thumbprint(public_jwk(key)), kid) if sound(key) else None


def key_of_pem(pem: bytes, allowed: tuple[str, ...]) -> VerificationKey:
    """Read a public key. Raises KeySetError."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeySetError("holds no public key in PEM form (-----BEGIN PUBLIC KEY-----)") from error
    if not isinstance(key, PublicKey) or not sound(key):
        raise KeySetError("holds a key that is too weak, or of another kind than RSA, P-256, P-384, P-521, Ed25519")
    jwk = public_jwk(key)
    fitting = FITTING.get((jwk["kty"], jwk.get("crv")), ())
    algorithms = tuple(name for name in fitting if name in allowed)
    if not algorithms:
        raise KeySetError(
            f"holds a key for {' or '.join(fitting) or 'no algorithm known here'}, and none of these is "
            "among the algorithms of its issuer"
        )
    return VerificationKey(key, algorithms, thumbprint(jwk))


def sound(key: object) -> bool:
    if isinstance(key, RSAPublicKey):
        return key.key_size in RSA_BITS and key.public_numbers().e.bit_length() <= RSA_EXPONENT_BITS
    if isinstance(key, EllipticCurvePublicKey):
        return key.curve.name in CURVES
    return isinstance(key, Ed25519PublicKey)


def public_jwk(key: PublicKey) -> dict[str, str]:
    """Give a public key as a JWK with the members that it needs, and no others."""
    if isinstance(key, RSAPublicKey):
        jwk = VERIFIERS["RS256"].to_jwk(key, as_dict=True)
    elif isinstance(key, EllipticCurvePublicKey):
        jwk = VERIFIERS["ES256"].to_jwk(key, as_dict=True)
    else:
        jwk = VERIFIERS["EdDSA"].to_jwk(key, as_dict=True)
    return {name: jwk[name] for name in ("kty", *MEMBERS[jwk["kty"]])}


def thumbprint(jwk: dict[str, str]) -> str:
    """Give the SHA-256 thumbprint of a public key (RFC 7638), in base64url."""
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
