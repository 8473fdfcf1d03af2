"""Credentials that clients hold already and that the operator imports: static tokens, secrets of OAuth clients. Pure.

People may have chosen them, so they can be short or have little entropy. The key of their hashes derives from the
master secret (`installation_keys`): without that secret, a copy of the agents file does not help to guess them. A keyed
hash takes a microsecond, which a slow hash would not, and it is computed on every request.
"""

from __future__ import annotations

import hmac
import itertools
import math
import re

from wirekey.core.command_name import COMMAND
from wirekey.core.identity.clients import ID_PREFIX
from wirekey.core.identity.tokens import PREFIX, looks_like_jwt

SHORTEST = 16
LONGEST = 1024
STRONG_BITS = 128
"""Entropy from which a secret cannot be guessed at any rate."""
WORD_BITS = 2.0
"""Bits of a letter in a word. English has between one and two."""

VISIBLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+", re.ASCII)
WORD = re.compile(r"[A-Z]?[a-z]{4,}|[A-Z]{5,}", re.ASCII)
"""Letters that may be a word. Random text often has three letters of one case together, and rarely more."""
ALPHABETS = ((r"[0-9]", 10), (r"[a-z]", 26), (r"[A-Z]", 26), (r"[^0-9A-Za-z]", 33))


def imported_digest(key: bytes, secret: str) -> bytes:
    """Return the hash under which an imported token or client secret is stored and found: 32 bytes."""
    return hmac.digest(key, secret.encode("utf-8", "surrogatepass"), "sha256")


def problem_of_secret(secret: str) -> str | None:
    """Return why a text cannot be a token or a client secret, without quoting it; None if it can."""
    if len(secret) < SHORTEST:
        return f"has {len(secret)} characters. It needs at least {SHORTEST}"
    if len(secret) > LONGEST:
        return f"has more than {LONGEST} characters"
    if not VISIBLE.fullmatch(secret):
        return "has a space, a control character or a character that is not ASCII. A header cannot carry it safely"
    return None


def problem_of_token(token: str) -> str | None:
    """Return why a text cannot be an imported token, without quoting it; None if it can."""
    if token.startswith(PREFIX):
        return f"begins with {PREFIX}, which only tokens made by Wirekey do. Make one with: {COMMAND} agents add NAME"
    if looks_like_jwt(token):
        return "is a JWT, which is verified and not imported. Configure its issuer in identity.jwt.issuers"
    return problem_of_secret(token)


def problem_of_client_id(client_id: str) -> str | None:
    """Return why a text cannot be an imported client id; None if it can."""
    if client_id.startswith(ID_PREFIX):
        return f"begins with {ID_PREFIX}, which only ids made by Wirekey do"
    return None if CLIENT_ID.fullmatch(client_id) else "must have 1 to 128 visible ASCII characters without spaces"


def entropy_bits(secret: str) -> int:
    """Return an estimate of the bits of entropy of a secret, which is low rather than high.

    Random characters count fully. Letters in words, repetitions and sequences such as `abcd` count little.
    """
    text = secret.replace("-", "")
    if HEX.fullmatch(text):
        return round(4 * varied_length(text))
    words = WORD.findall(secret)
    letters = sum(map(len, words))
    alphabet = sum(size for pattern, size in ALPHABETS if re.search(pattern, secret))
    others = WORD.sub("", secret)
    return round(WORD_BITS * min(letters, varied_length("".join(words))) + math.log2(alphabet) * varied_length(others))


def varied_length(text: str) -> int:
    """Return the number of characters that neither repeat nor continue the characters before them."""
    steps = [ord(after) - ord(before) for before, after in itertools.pairwise(text)]
    predictable = sum(
        abs(step) <= 1 and step in (before, 0) for before, step in zip([None, *steps], steps, strict=False)
    )
    # A text made of few different characters, or of one part again and again, has only the entropy of that part.
    period = next((size for size in range(1, len(text) // 2 + 1) if repeats(text, size)), len(text))
    return min(len(text) - predictable, period)


def repeats(text: str, size: int) -> bool:
    """Return whether a text is its first `size` characters again and again."""
    return all(text[at] == text[at - size] for at in range(size, len(text)))
