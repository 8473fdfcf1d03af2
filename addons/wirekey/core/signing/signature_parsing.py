"""Parses the signature of a request, without verifying it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from wirekey.core.signing.refusal import incomplete, invalid, missing
from wirekey.core.signing.request import ALGORITHM, TERMINATOR, parameter_name

if TYPE_CHECKING:
    from wirekey.core.signing.request import RequestHead

SIGV4A = "AWS4-ECDSA-P256-SHA256"
TIMESTAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
WORD = re.compile(r"[A-Za-z0-9_+=,.@:-]{1,128}", re.ASCII)
HEADER_NAME = re.compile(r":authority|[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
PARTS = ("Credential", "SignedHeaders", "Signature")
QUERY_PREFIX = "x-amz-"
QUERY_MARKS = frozenset({b"x-amz-algorithm", b"x-amz-credential", b"x-amz-signature"})
MAX_EXPIRES = 3600
"""Seconds. AWS allows a week, but each signature must be remembered until it expires."""
MAX_SIGNED_HEADERS = 100


@dataclass(frozen=True, slots=True)
class ParsedSignature:
    """The parts of a signature, not verified."""

    access_key: str
    date: str
    """The day of the scope, YYYYMMDD."""
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)
    timestamp: str
    """The time of the string to sign, YYYYMMDDTHHMMSSZ."""
    date_header: str | None
    """The header that has the time, or None if the query has it."""
    expires: int | None
    """Seconds that a presigned query is good for, or None for a signature in the header."""

    @property
    def signed_at(self) -> float:
        """Return the time of signing in Unix seconds."""
        return _seconds(self.timestamp)


def has_signature(head: RequestHead) -> bool:
    """Return whether the request claims to be signed for AWS, in the header or the query, well-formed or not."""
    for name, value in head.headers:
        if name.lower() == b"authorization" and value.lstrip().startswith((b"AWS4", b"AWS ")):
            return True
    query = head.target.partition(b"?")[2]
    return bool(query) and any(parameter_name(pair) in QUERY_MARKS for pair in query.split(b"&"))


def signature_of(head: RequestHead) -> ParsedSignature:
    """Return the signature of a request, parsed once.

    Raises SignatureRefused as `parse_signature` does, and UnreadableRequestError if the head cannot be read.
    """
    parsed: ParsedSignature | None = head.read.get("signature")
    if parsed is None:
        parsed = head.read["signature"] = parse_signature(head.fields(), head.query)
    return parsed


def parse_signature(fields: dict[str, list[bytes]], query: list[tuple[str, str]]) -> ParsedSignature:
    """Parse the signature of the request. Raises SignatureRefused if the request has no signature, or more than one."""
    authorization = fields.get("authorization", [])
    own = [(name, value) for name, value in query if name.lower().startswith(QUERY_PREFIX)]
    presigned = any(name.lower().encode() in QUERY_MARKS for name, _ in own)
    if len(authorization) + presigned > 1:
        raise incomplete("The request has more than one signature or credential. Send one.")
    if presigned:
        return _from_query(own)
    if not authorization:
        raise missing()
    return _from_header(authorization[0].decode("latin-1").strip(" \t"), fields)


def _from_header(value: str, fields: dict[str, list[bytes]]) -> ParsedSignature:
    algorithm, _, rest = value.partition(" ")
    _check_algorithm(algorithm)
    parts: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, content = part.strip(" \t").partition("=")
        if not equals or name in parts:
            raise incomplete("Authorization header is not of the form 'Name=value, Name=value', with each name once.")
        parts[name] = content
    lacking = [name for name in PARTS if not parts.get(name)]
    if lacking:
        raise incomplete(" ".join(f"Authorization header requires '{name}' parameter." for name in lacking))
    header, timestamp = _time(fields)
    return _presented(parts["Credential"], parts["SignedHeaders"], parts["Signature"], timestamp, header=header)


def _from_query(own: list[tuple[str, str]]) -> ParsedSignature:
    parts: dict[str, str] = {}
    for name, value in own:
        if name.lower() in parts:
            raise incomplete(f"The query has the parameter {name[:40]} more than once.")
        parts[name.lower()] = value
    _check_algorithm(parts.get("x-amz-algorithm", ""))
    needed = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")
    lacking = [name for name in needed if not parts.get(name.lower())]
    if lacking:
        raise incomplete(" ".join(f"AWS query-string parameters must include '{name}'." for name in lacking))
    expires = parts["x-amz-expires"]
    if not re.fullmatch(r"[1-9][0-9]{0,5}", expires, re.ASCII) or int(expires) > MAX_EXPIRES:
        raise invalid(f"X-Amz-Expires must be a number of seconds from 1 to {MAX_EXPIRES}.")
    return _presented(
        parts["x-amz-credential"],
        parts["x-amz-signedheaders"],
        parts["x-amz-signature"],
        _checked_time(parts["x-amz-date"]),
        expires=int(expires),
    )


def _presented(
    credential: str,
    signed: str,
    signature: str,
    timestamp: str,
    *,
    header: str | None = None,
    expires: int | None = None,
) -> ParsedSignature:
    scope = credential.split("/")
    if len(scope) != 5 or not all(WORD.fullmatch(part) for part in scope):
        raise incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
        )
    access_key, date, region, service, terminator = scope
    if terminator != TERMINATOR:
        raise invalid(f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'.")
    if date != timestamp[:8]:
        raise invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date}' != '{timestamp[:8]}', from '{timestamp}'."
        )
    names = signed.split(";")
    if len(names) > MAX_SIGNED_HEADERS or names != sorted(set(names)) or not all(map(HEADER_NAME.fullmatch, names)):
        raise incomplete("SignedHeaders must be lower-case header names, each once, sorted, with ';' between.")
    return ParsedSignature(access_key, date, region, service, tuple(names), signature, timestamp, header, expires)


def _check_algorithm(algorithm: str) -> None:
    if algorithm == ALGORITHM:
        return
    if algorithm == SIGV4A:
        raise incomplete(
            f"Unsupported AWS 'algorithm': '{SIGV4A}' (SigV4A, for several regions at once). "
            f"Sign with {ALGORITHM} for the endpoint's region."
        )
    shown = algorithm if WORD.fullmatch(algorithm) and algorithm.startswith("AWS4-") else "unknown"
    raise incomplete(f"Unsupported AWS 'algorithm': '{shown}'. Sign with {ALGORITHM}.")


def _time(fields: dict[str, list[bytes]]) -> tuple[str, str]:
    """Return the header that has the time of signing, and the time. `x-amz-date` takes precedence over `date`."""
    for name in ("x-amz-date", "date"):
        values = fields.get(name)
        if values is None:
            continue
        if len(values) > 1:
            raise incomplete(f"The request has more than one {name} header.")
        return name, _checked_time(values[0].decode("latin-1").strip(" \t"))
    raise incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")


def _checked_time(value: str) -> str:
    try:
        if TIMESTAMP.fullmatch(value):
            _seconds(value)
            return value
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError):
        raise incomplete("Date must be in ISO-8601 'basic format', as 20260131T235959Z.") from None


def _seconds(timestamp: str) -> float:
    match = TIMESTAMP.fullmatch(timestamp)
    assert match is not None
    year, month, day, hour, minute, second = map(int, match.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
