"""Checks signatures as the Bedrock runtime does, written from AWS's description alone.

Independent of wirekey.core.signing and of botocore on purpose: two independent implementations that agree are evidence.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from wirekey_simulator import signed_events
from wirekey_simulator.exchange import json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey_simulator.exchange import SimulatedRequest, SimulatedResponse

ALGORITHM = "AWS4-HMAC-SHA256"
REQUEST_ID = "00000000-0000-4000-8000-000000000000"
SKEW = 300
SERVICE = "bedrock"
AUTHORIZATION = re.compile(
    ALGORITHM + r" Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/([^/,\s]+),\s*"
    r"SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})",
    re.ASCII,
)
ENDPOINT = re.compile(r"bedrock(?:-[a-z]+)*\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)(?::\d+)?")
BLANKS = re.compile("[ \t]+")
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True)
class Account:
    """The secret of an access key. Temporary pairs also have `token` and `expires_at` (Unix seconds)."""

    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class SignatureRejection:
    """The error with which AWS rejects a signature."""

    kind: str
    """As in x-amzn-errortype."""
    message: str


def refusal_response(request: SimulatedRequest, accounts: Mapping[str, str | Account]) -> SimulatedResponse | None:
    """Return AWS's response to a request with a bad signature, or None if the signature is good."""
    refused = signature_rejection(request, accounts)
    if refused is None:
        return None
    kind = f"{refused.kind}:http://internal.amazon.com/coral/com.amazon.coral.service/"
    return json_response(
        {"message": refused.message}, 403, [("x-amzn-requestid", REQUEST_ID), ("x-amzn-errortype", kind)]
    )


def is_signed(request: SimulatedRequest) -> bool:
    """Return whether a request has an AWS signature."""
    return request.header("authorization").startswith("AWS4-")


def signature_rejection(
    request: SimulatedRequest, accounts: Mapping[str, str | Account], clock: Callable[[], float] = time.time
) -> SignatureRejection | None:
    """Return the error with which AWS rejects the signature, with status 403, or None if it is good."""
    values = request.fields.get("authorization", [])
    if not values:
        return SignatureRejection("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = AUTHORIZATION.fullmatch(values[0])
    stamp = request.header("x-amz-date")
    if len(values) > 1 or not match or not re.fullmatch(r"\d{8}T\d{6}Z", stamp, re.ASCII):
        return SignatureRejection(
            "IncompleteSignatureException", "The signature is incomplete, or comes without an X-Amz-Date."
        )
    access_key, date, region, service, terminator, names, signature = match.groups()
    signed = names.split(";")
    wrong = (
        _wrong_scope(request, date, region, service, terminator)
        or _wrong_time(stamp, clock())
        or _wrong_headers(request, signed)
    )
    if wrong:
        return SignatureRejection("InvalidSignatureException", wrong)
    account = accounts.get(access_key)
    account = Account(account) if isinstance(account, str) else account
    if account is None or request.fields.get("x-amz-security-token", []) != ([account.token] if account.token else []):
        return SignatureRejection(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    if account.expires_at is not None and clock() > account.expires_at:
        return SignatureRejection("ExpiredTokenException", "The security token included in the request is expired")
    text = "\n".join(
        (ALGORITHM, stamp, f"{date}/{region}/{service}/{terminator}", _sha256(_canonical(request, signed)))
    )
    key = b"AWS4" + account.secret.encode()
    for part in (date, region, service, terminator):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    if hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), signature):
        return None
    return SignatureRejection("InvalidSignatureException", MISMATCH)


def _wrong_scope(request: SimulatedRequest, date: str, region: str, service: str, terminator: str) -> str | None:
    endpoint = ENDPOINT.fullmatch(request.authority)
    if endpoint and endpoint[1] != region:
        return f"Credential should be scoped to a valid region, not '{region}'. "
    if service != SERVICE:
        return f"Credential should be scoped to correct service: '{SERVICE}'. "
    if terminator != "aws4_request":
        return f"Credential should be scoped with a valid terminator: 'aws4_request', not '{terminator}'."
    if date != request.header("x-amz-date")[:8]:
        return "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP."
    return None


def _wrong_time(stamp: str, now: float) -> str | None:
    try:
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return f"Date must be in ISO-8601 'basic format'. Got '{stamp}'."
    if signed < now - SKEW:
        return f"Signature expired: {stamp} is now earlier than {_stamp(now - SKEW)} ({_stamp(now)} - 5 min.)"
    if signed > now + SKEW:
        return f"Signature not yet current: {stamp} is still later than {_stamp(now + SKEW)} ({_stamp(now)} + 5 min.)"
    return None


def _wrong_headers(request: SimulatedRequest, signed: list[str]) -> str | None:
    if "host" not in signed and ":authority" not in signed:
        return "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    for name, values in request.fields.items():
        if name.startswith("x-amz-") and (name not in signed or len(values) > 1):
            return f"'{name}' must be a 'SignedHeader' in the AWS Authorization, and stand once."
    said = request.header("x-amz-content-sha256", request.sha256)
    if said == signed_events.PAYLOAD and request.streams:
        return None
    if said not in (request.sha256, "UNSIGNED-PAYLOAD"):
        return "The provided 'x-amz-content-sha256' header does not match what was computed."
    return None


def _canonical(request: SimulatedRequest, signed: list[str]) -> str:
    path, _, query = request.target.partition("?")
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(quote(segment, safe="-_.~"))
    last = "/" if path.endswith("/") and segments else ""
    pairs = sorted(
        (quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~"))
        for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)
    )
    headers = "".join(f"{name}:{_value(request, name)}\n" for name in signed)
    return "\n".join(
        (
            request.method,
            "/" + "/".join(segments) + last,
            "&".join(f"{name}={value}" for name, value in pairs),
            headers,
            ";".join(signed),
            request.header("x-amz-content-sha256", request.sha256),
        )
    )


def _value(request: SimulatedRequest, name: str) -> str:
    values = request.fields.get(name, [])
    if name in ("host", ":authority") and not values:
        values = [request.authority]
    return ",".join(BLANKS.sub(" ", value.encode("latin-1").decode(errors="replace").strip(" \t")) for value in values)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")
