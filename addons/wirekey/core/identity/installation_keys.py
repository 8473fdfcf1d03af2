"""The keys of an installation, each derived from one master secret. Pure.

By default, the master secret is a file of the state folder (`master_file`), so only the processes of one machine have
the same keys. With `secrets.master`, all replicas derive the same keys and share no files: each key is the output of
HKDF-SHA-256 (RFC 5869) of 32 bytes, without a salt, with its use as `info`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wirekey.core.identity.imported_credentials import STRONG_BITS, entropy_bits
from wirekey.core.secret import Secret

KEY_BYTES = 32
SHORTEST = 32
"""Bytes of a master secret that the operator sets."""
HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+", re.ASCII)
HOW_TO_MAKE = "Make one with: openssl rand -base64 32"

AWS_PAIRS = b"wirekey aws pairs"
IMPORTED = b"wirekey imported credentials"
JWT = b"wirekey jwt signing key"
REASONING_STATE = b"wirekey reasoning state"


@dataclass(frozen=True, slots=True)
class MasterSecret:
    """A secret from which keys are derived. `secret`: its bytes in hex. Equality takes constant time.

    `is_stored`: it comes from the state folder. Keys are then derived as they always were, so that what was issued
    stays valid.
    """

    secret: Secret
    is_stored: bool = False

    @classmethod
    def parse(cls, text: str) -> MasterSecret:
        """Return the secret that an operator has set, in hex or base64. Raises ValueError, without the text."""
        found = decoded(text)
        if found is None:
            raise ValueError(f"is neither base64 nor hex. {HOW_TO_MAKE}")
        if len(found) < SHORTEST:
            raise ValueError(f"has {len(found)} bytes and needs at least {SHORTEST}. {HOW_TO_MAKE}")
        if entropy_bits(text) < STRONG_BITS or len(set(found)) < SHORTEST // 2:
            raise ValueError(f"repeats itself or has words, so it might be guessed. {HOW_TO_MAKE}")
        return cls(Secret(found.hex()))

    def key_for(self, use: bytes) -> bytes:
        """Return the key for one use, 32 bytes."""
        if self.is_stored:
            return hmac.digest(self.secret.reveal().encode(), use, "sha256")
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=use).derive(bytes.fromhex(self.secret.reveal()))

    @property
    def of_pairs(self) -> Secret:
        """The secret from which the AWS pairs are derived, as 64 hex digits."""
        return self.secret if self.is_stored else Secret(self.key_for(AWS_PAIRS).hex())


def decoded(text: str) -> bytes | None:
    """Return the bytes of a text in hex, or in base64 of either alphabet; None if it is neither."""
    if HEX.fullmatch(text):
        return bytes.fromhex(text)
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
