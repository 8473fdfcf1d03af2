"""Agent tokens: `wk_` and 43 letters and digits, 256 bits of chance.

Stored as a plain SHA-256, on purpose: slow and salted hashes protect what people choose, which can be guessed. A
token of 256 random bits cannot be guessed at any speed, and it is looked up on every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string

PREFIX = "wk_"
ALPHABET = string.ascii_letters + string.digits
LENGTH = 43
"""62 to the 43rd is a little more than 2 to the 256th."""

TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9]{{{LENGTH}}}", re.ASCII)


def new_token() -> str:
    return PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def token_digest(token: str) -> bytes:
    """Give the 32 bytes that are stored, and by which agents are found: these may be kept in memory."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def token_id(token: str) -> str:
    """Give the short name by which a token is spoken of without showing it: 12 hex digits of its hash."""
    return token_digest(token).hex()[:12]
