"""Parses a JWT in the only way in which it can be parsed, before anything in it is trusted. Pure.

Keys in a header (jwk, jku, x5c, x5u) are ignored: keys come from the issuer's own set. Anything that two
parsers could understand differently is rejected: a repeated name in an object, base64url with spare bits, padding,
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
"""Characters. Longer tokens are rejected without parsing."""
MAX_KID = 256

SEGMENT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
CHANGES_MEANING = ("crit", "b64", "zip", "enc")
"""Header members that make a token something other than a plain signed one."""


class RefusedTokenError(Exception):
    """A JWT is not accepted. The message follows "The JWT " and contains no claim of an unverified token."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """The parts of a parsed token. Nothing in it is verified yet."""

    algorithm: str
    kid: str | None
    type: str | None
    """The header's `typ`, in lower case and without `application/`."""
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read(token: str) -> UnverifiedToken:
    """Parse a token. Raises RefusedTokenError if it cannot be parsed in exactly one way."""
    if len(token) > MAX_TOKEN:
        raise RefusedTokenError(f"is longer than {MAX_TOKEN} characters")
    segments = token.split(".")
    if len(segments) == 5:
        raise RefusedTokenError("is encrypted; only signed ones are accepted")
    if len(segments) != 3:
        raise RefusedTokenError("does not have the three parts of a signed token")
    head, payload, signature = (decoded(segment) for segment in segments)
    header = json_object(head, "header")
    for name in CHANGES_MEANING:
        if name in header:
            raise RefusedTokenError(f"has {name} in its header, which is not supported")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise RefusedTokenError("does not name its algorithm")
    return UnverifiedToken(
        algorithm,
        key_id(header),
        token_type(header),
        json_object(payload, "claims"),
        f"{segments[0]}.{segments[1]}".encode(),
        signature,
    )


def key_id(header: dict[str, Any]) -> str | None:
    """Return the key id of a header, or None if it has none. Raises RefusedTokenError."""
    kid = header.get("kid")
    if kid is None and "kid" not in header:
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise RefusedTokenError("has an invalid key id")
    return kid


def token_type(header: dict[str, Any]) -> str | None:
    """Return the header's `typ` in lower case, without `application/`, or None if it has none.

    Raises RefusedTokenError.
    """
    value = header.get("typ")
    if value is None and "typ" not in header:
        return None
    if not isinstance(value, str):
        raise RefusedTokenError("has an invalid type")
    return value.lower().removeprefix("application/")


def decoded(segment: str) -> bytes:
    """Decode canonical base64url. Raises RefusedTokenError."""
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
    """Parse a JSON object without repeated names. `what` names it in the error. Raises RefusedTokenError."""
    try:
        value = json.loads(content.decode(), object_pairs_hook=each_once, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise RefusedTokenError(f"has {what} that cannot be read as JSON in exactly one way") from error
    if not isinstance(value, dict):
        raise RefusedTokenError(f"has {what} that are no JSON object")
    return value


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict of JSON's name and value pairs, as an `object_pairs_hook`.

    Raises ValueError if a name is repeated.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated in an object")
    return found


def no_number(text: str) -> NoReturn:
    """Raise ValueError: NaN and Infinity are not JSON."""
    raise ValueError(f"{text} is not JSON")
