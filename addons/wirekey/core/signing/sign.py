"""Signs a request with real credentials as boto3 would."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.auth import SIGNED_HEADERS_BLACKLIST

from wirekey.core.signing.canonical import HeadersToSign, SigningKeyCache, SigV4Signature
from wirekey.core.signing.request import ALGORITHM, field_text

if TYPE_CHECKING:
    from wirekey.core.signing.request import Endpoint, RequestHead, SigV4Credentials

SIGNATURE_HEADERS = frozenset({b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"})
UNSIGNED = frozenset(SIGNED_HEADERS_BLACKLIST) | {":authority", "content-length"}
"""Headers that are not signed: botocore's list, and the length, which belongs to the connection and not the request."""


class RequestSigner:
    """Signs requests and caches the derived keys. For one thread."""

    def __init__(self, keys: SigningKeyCache | None = None) -> None:
        self._keys = keys or SigningKeyCache()

    def sign(
        self,
        head: RequestHead,
        body_sha256: str,
        credentials: SigV4Credentials,
        endpoint: Endpoint,
        now: float,
        *,
        payload_header: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers to add to `head`, in the names and order of boto3. All other headers are signed.

        `body_sha256`: of the body to be sent, in lower-case hex; always signed. `payload_header`: also send it as
        `X-Amz-Content-SHA256`, as some SDKs do. Raises ValueError if `head` has a signature already, or
        bytes that are not UTF-8.
        """
        if any(name.lower() in SIGNATURE_HEADERS for name, _ in head.headers):
            raise ValueError("The request already has a signature. Remove it first.")
        timestamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        added = [(b"X-Amz-Date", timestamp.encode())]
        if credentials.token is not None:
            added.append((b"X-Amz-Security-Token", credentials.token.reveal().encode()))
        if payload_header:
            added.append((b"X-Amz-Content-SHA256", body_sha256.encode()))
        fields = {
            name: [field_text(name, value) for value in values]
            for name, values in replace(head, headers=[*head.headers, *added]).fields().items()
            if name not in UNSIGNED
        }
        if "host" not in fields:
            raise ValueError("The request has no host, so it cannot be signed.")
        signature, signed = (
            SigV4Signature(credentials, endpoint.region, endpoint.service, self._keys),
            HeadersToSign(fields),
        )
        canonical = signature.canonical(head.method, head.path, head.query, signed, body_sha256)
        value = (
            f"{ALGORITHM} Credential={credentials.access_key}/{signature.scope_of(timestamp)}, "
            f"SignedHeaders={signature.signed_headers(signed)}, Signature={signature.of(canonical, timestamp)}"
        )
        return [*added, (b"Authorization", value.encode())]
