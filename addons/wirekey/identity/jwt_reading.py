"""A JWT as text, read in the one way in which it can be read, before anything in it is believed. Pure.

What a header says about keys (jwk, jku, x5c, x5u) is not even taken out: keys come from the issuer's own set. Anything
that two readers could understand differently is refused: a key twice in an object, base64url with spare bits, padding,
white space, NaN.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_TOKEN = 8 * 1024
"""Longer tokens are refused unread, in characters."""
MAX_KID = 256

SEGMENT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
CHANGES_MEANING = ("crit", "b64", "zip", "enc")
"""Header members that make something else of the token than a plain signed one."""


class RefusedTokenError(Exception):
    """Why a JWT is not believed: a sentence's end, after "The JWT ". Holds nothing of an unverified token's claims."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says of itself."""

    algorithm: str
    kid: str | None
    type: str | None
    """The header's `typ`, in lower case and without `application/`."""
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def looks_like_jwt(value: str) -> bool:
    """Tell whether a value in a place for a key is meant as a JWT, or a JWE, good or bad."""
    return value.startswith("eyJ") and value.count(".") in (2, 4)


def read(token: str) -> UnverifiedToken:
    """Raise RefusedTokenError where the token cannot be read in exactly one way."""
    if len(token) > MAX_TOKEN:
        raise RefusedTokenError(f"is longer than {MAX_TOKEN} characters")
    segments = token.split(".")
    if len(segments) == 5:
        raise RefusedTokenError("is encrypted, and only signed ones are taken")
    if len(segments) != 3:
        raise RefusedTokenError("does not have the three parts of a signed token")
    head, payload, signature = (decoded(segment) for segment in segments)
    header = json_object(head, "header")
    for name in CHANGES_MEANING:
        if name in header:
            raise RefusedTokenError(f"has {name} in its header, which is not supported")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise RefusedTokenError("does not say its algorithm")
    return UnverifiedToken(
        algorithm,
        key_id(header),
        token_type(header),
        json_object(payload, "claims"),
        f"{segments[0]}.{segments[1]}".encode(),
        signature,
    )


def key_id(header: dict[str, Any]) -> str | None:
    kid = header.get("kid")
    if kid is None and "kid" not in header:
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise RefusedTokenError("has a key id that is none")
    return kid


def token_type(header: dict[str, Any]) -> str | None:
    value = header.get("typ")
    if value is None and "typ" not in header:
        return None
    if not isinstance(value, str):
        raise RefusedTokenError("has a type that is none")
    return value.lower().removeprefix("application/")


def decoded(segment: str) -> bytes:
    if not SEGMENT.fullmatch(segment):
        raise RefusedTokenError("is not base64url in each of its parts")
    try:
        content = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise RefusedTokenError("is not base64url in each of its parts") from error
    if base64.urlsafe_b64encode(content).rstrip(b"=") != segment.encode():
        raise RefusedTokenError("is base64url that can be written in another way")
    return content


def json_object(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content.decode(), object_pairs_hook=each_once, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise RefusedTokenError(f"has {what} that cannot be read as JSON in exactly one way") from error
    if not isinstance(value, dict):
        raise RefusedTokenError(f"has {what} that are no JSON object")
    return value


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of JSON's pairs: an `object_pairs_hook`. Raises ValueError where a name comes twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in an object")
    return found


def no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
