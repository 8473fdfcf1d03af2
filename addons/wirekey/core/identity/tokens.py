"""Agent tokens: `wk_` and 43 letters and digits, 256 random bits.

Stored as a plain SHA-256 on purpose. Slow and salted hashes protect what people choose, which can be guessed. A token
of 256 random bits cannot be guessed at any speed, and it is looked up on every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string

PREFIX = "wk_"
ALPHABET = string.ascii_letters + string.digits
LENGTH = 43
"""62 to the power of 43 is slightly more than 2 to the power of 256."""

TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9]{{{LENGTH}}}", re.ASCII)


def new_token() -> str:
    """Return a new random token."""
    return PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def token_digest(token: str) -> bytes:
    """Return the 32 bytes that are stored and by which agents are found. They may be kept in memory."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def token_id(token: str) -> str:
    """Return the short name that identifies a token without revealing it: 12 hex digits of its hash."""
    return token_digest(token).hex()[:12]


def looks_like_jwt(value: str) -> bool:
    """Return whether a credential has the form of a JWT or a JWE, valid or not.

    Wirekey takes such a value for a token of an agent, even if the feature that verifies JWTs is not installed. Then it
    is unknown.
    """
    return value.startswith("eyJ") and value.count(".") in (2, 4)
