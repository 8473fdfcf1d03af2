"""Verifies that the holder of a known key pair signed a request as it arrived.

The checks are stricter than a correct signature, because what AWS leaves unsigned could be changed on the way. Path:
one with `//`, `.` or `..` segments has the canonical form of another path and is refused. One that is encoded once
where AWS requires it twice, as curl 7 signs it, is accepted, because no other path has that form. Headers: `host`, the
date and every `x-amz-*` must be signed. Body: a signed hash must be that of the body that arrived. `UNSIGNED-PAYLOAD`
is accepted only over TLS, which protects the body.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.utils import normalize_url_path

from wirekey.core.signing.canonical import UNSIGNED_PAYLOAD, HeadersToSign, SigningKeyCache, SigV4Signature
from wirekey.core.signing.event_signatures import EVENTS_PAYLOAD
from wirekey.core.signing.refusal import incomplete, invalid, unrecognized
from wirekey.core.signing.request import UnreadableRequestError, field_text
from wirekey.core.signing.signature_parsing import signature_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.signing.request import Endpoint, RequestHead, SigV4Credentials
    from wirekey.core.signing.signature_parsing import ParsedSignature

CLOCK_SKEW = 300
"""Seconds that the signer's clock may differ, either way."""
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
VISIBLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
CHUNKED_MARKS = ("x-amz-decoded-content-length", "x-amz-trailer")
NUMBERING = frozenset({"amz-sdk-invocation-id", "amz-sdk-request"})


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """The signer, and what was signed."""

    access_key: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    payload_signed: bool
    presigned: bool
    signature: str = field(repr=False)
    good_until: float
    """Unix seconds after which the signature has expired."""
    numbered: bool
    """Whether the numbers of the call and its attempt are signed, as some SDKs do: then all signatures differ."""
    signs_events: bool = False
    """Whether the body is a stream of events, each with a signature of its own. They are not verified here."""


class Verifier:
    """Verifies against the pairs that `find` returns by access key id. For one thread."""

    def __init__(self, find: Callable[[str], SigV4Credentials | None], keys: SigningKeyCache | None = None) -> None:
        self._find = find
        self._keys = keys or SigningKeyCache()

    def verify(self, head: RequestHead, body_sha256: str, endpoint: Endpoint, now: float) -> VerifiedSignature:
        """Return the verified signature. Raises SignatureRefused.

        `body_sha256`: of the body as it arrived, in lower-case hex; EVENTS_PAYLOAD if it is a stream of signed events,
        of which each must be verified as it arrives. `now`: Unix seconds.
        """
        try:
            return self._verify(head, body_sha256, endpoint, now)
        except UnreadableRequestError as error:
            raise incomplete(str(error)) from None

    def _verify(self, head: RequestHead, body_sha256: str, endpoint: Endpoint, now: float) -> VerifiedSignature:
        fields, query, path = head.fields(), head.query, head.path
        presented = signature_of(head)
        _check_scope(presented, endpoint)
        good_until = _check_time(presented, now)
        _check_headers(presented, fields)
        payload = _payload(presented, fields, query, body_sha256, tls=head.tls)
        if endpoint.plain_paths and normalize_url_path(path) != path:
            raise invalid("The path has empty, '.' or '..' segments. Send the path that was signed.")
        credentials = self._find(presented.access_key)
        if credentials is None:
            raise unrecognized("This access key is unknown or revoked.")
        _check_token(credentials, presented, fields, query)
        signature = SigV4Signature(credentials, presented.region, presented.service, self._keys)
        signed = HeadersToSign({name: [field_text(name, v) for v in fields[name]] for name in presented.signed_headers})
        if presented.expires is not None:
            query = [(name, value) for name, value in query if name.lower() != "x-amz-signature"]
        for as_sent in (False, True) if _may_be_signed_as_sent(path) else (False,):
            canonical = signature.canonical(head.method, path, query, signed, payload, path_as_sent=as_sent)
            made = signature.of(canonical, presented.timestamp)
            if hmac.compare_digest(made.encode(), presented.signature.encode()):
                break
        else:
            raise invalid()
        return VerifiedSignature(
            presented.access_key,
            presented.region,
            presented.service,
            presented.signed_headers,
            payload_signed=payload != UNSIGNED_PAYLOAD,
            presigned=presented.expires is not None,
            signature=presented.signature,
            good_until=good_until,
            numbered=NUMBERING.issubset(presented.signed_headers),
            signs_events=payload == EVENTS_PAYLOAD,
        )


def _may_be_signed_as_sent(path: str) -> bool:
    """Return whether a path encoded only once, as curl 7 signs it, can be accepted without confusing two paths.

    Without an encoded `%`, both readings of one signature decode to the same path. Without blanks and control
    characters, the path is one line of the canonical request.
    """
    return "%25" not in path and VISIBLE.fullmatch(path) is not None and normalize_url_path(path) == path


def _check_scope(presented: ParsedSignature, endpoint: Endpoint) -> None:
    if presented.region != endpoint.region:
        raise invalid(
            f"Credential should be scoped to a valid region, not '{presented.region}'. "
            f"This endpoint is in '{endpoint.region}'."
        )
    if presented.service != endpoint.service:
        raise invalid(f"Credential should be scoped to correct service: '{endpoint.service}'.")


def _check_time(presented: ParsedSignature, now: float) -> float:
    signed, skew = presented.signed_at, CLOCK_SKEW
    good_until = signed + (skew if presented.expires is None else presented.expires)
    if now > good_until:
        if presented.expires is not None:
            raise invalid(f"Signature expired: {presented.timestamp} was good for {presented.expires} s.")
        raise invalid(
            f"Signature expired: {presented.timestamp} is now earlier than {_stamp(now - skew)} "
            f"({_stamp(now)} - {skew // 60} min.)"
        )
    if signed > now + skew:
        raise invalid(
            f"Signature not yet current: {presented.timestamp} is still later than {_stamp(now + skew)} "
            f"({_stamp(now)} + {skew // 60} min.)"
        )
    return good_until


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _check_headers(presented: ParsedSignature, fields: dict[str, list[bytes]]) -> None:
    signed = set(presented.signed_headers)
    if not signed & {"host", ":authority"}:
        raise invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    if presented.date_header and presented.date_header not in signed:
        raise invalid(f"'{presented.date_header}' must be a 'SignedHeader' in the AWS Authorization.")
    for name in fields:
        if name.startswith("x-amz-") and name not in signed:
            raise invalid(f"'{name[:64]}' must be a 'SignedHeader' in the AWS Authorization.")
    for name in presented.signed_headers:
        if name not in fields:
            raise invalid(f"The header '{name[:64]}' was signed but did not arrive.")
    if "connection" in fields:
        options = {option.strip().lower() for value in fields["connection"] for option in value.split(b",")}
        for name in presented.signed_headers:
            if name != "connection" and name.encode("latin-1") in options:
                raise invalid(f"The header '{name[:64]}' was signed, but 'Connection' lists it for removal.")


def _payload(
    presented: ParsedSignature,
    fields: dict[str, list[bytes]],
    query: list[tuple[str, str]],
    body_sha256: str,
    *,
    tls: bool,
) -> str:
    """Return the canonical request's value for the body. Raises SignatureRefused if it does not match the body."""
    values = [value.decode("latin-1").strip(" \t") for value in fields.get("x-amz-content-sha256", ())]
    if presented.expires is not None:
        values += [value for name, value in query if name.lower() == "x-amz-content-sha256"]
    if len(values) > 1:
        raise incomplete("The request has more than one x-amz-content-sha256.")
    encodings = b",".join(fields.get("content-encoding", ())).lower()
    said = values[0] if values else ""
    if said == body_sha256 == EVENTS_PAYLOAD and not (encodings or any(name in fields for name in CHUNKED_MARKS)):
        return said
    if said.startswith("STREAMING-") or b"aws-chunked" in encodings or any(name in fields for name in CHUNKED_MARKS):
        raise invalid(
            "Bodies signed in chunks (x-amz-content-sha256: STREAMING-…, aws-chunked, trailers) are not supported. "
            "Sign the whole body."
        )
    if not values or said == body_sha256:
        return body_sha256
    if said == UNSIGNED_PAYLOAD:
        if tls:
            return said
        raise invalid(f"{UNSIGNED_PAYLOAD} is allowed only over TLS. Sign the body, or use https.")
    if SHA256.fullmatch(said):
        raise invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")
    raise incomplete("x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a SHA-256 in lower-case hexadecimal.")


def _check_token(
    credentials: SigV4Credentials,
    presented: ParsedSignature,
    fields: dict[str, list[bytes]],
    query: list[tuple[str, str]],
) -> None:
    tokens = [value.strip(b" \t") for value in fields.get("x-amz-security-token", ())]
    if presented.expires is not None:
        tokens += [value.encode() for name, value in query if name.lower() == "x-amz-security-token"]
    if credentials.token is None:
        if tokens:
            raise unrecognized("This access key has no session token. Unset AWS_SESSION_TOKEN.")
        return
    if len(tokens) != 1 or not hmac.compare_digest(tokens[0], credentials.token.reveal().encode()):
        raise unrecognized()
