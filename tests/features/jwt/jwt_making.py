"""Tokens built by hand, so that any part can be wrong, and keys to sign them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}
HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


@cache
def rsa_key(name="one", bits=2048):
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve="P-256", name="one"):
    return ec.generate_private_key(CURVES[curve]())


@cache
def ed_key(name="one"):
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def jwk(private, **members):
    public = private.public_key()
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = public.public_numbers()
        found = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    elif isinstance(private, Ed25519PrivateKey):
        found = {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
    else:
        numbers, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        name = next(name for name, curve in CURVES.items() if curve.name == public.curve.name)
        found = {
            "kty": "EC",
            "crv": name,
            "x": b64(numbers.x.to_bytes(size, "big")),
            "y": b64(numbers.y.to_bytes(size, "big")),
        }
    return {**found, **members}


def jwks(*keys) -> bytes:
    return json.dumps({"keys": keys}).encode()


def pem(private) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signature(algorithm: str, key, signed: bytes) -> bytes:
    if algorithm.startswith("HS"):
        return hmac.digest(key, signed, f"sha{algorithm[2:]}")
    if algorithm == "EdDSA":
        return key.sign(signed)
    digest = HASHES[algorithm[2:]]()
    if algorithm.startswith("RS"):
        return key.sign(signed, padding.PKCS1v15(), digest)
    if algorithm.startswith("PS"):
        return key.sign(signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def text(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def token(header, claims, key, algorithm=None) -> str:
    """Sign the header and claims, dicts or JSON texts as they are, with `algorithm` or the one the header names."""
    signed = f"{b64(text(header).encode())}.{b64(text(claims).encode())}"
    return f"{signed}.{b64(signature(algorithm or header['alg'], key, signed.encode()))}"
