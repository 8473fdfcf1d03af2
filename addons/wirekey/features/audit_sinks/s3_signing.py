"""Signatures of requests to S3, by botocore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest

    from wirekey.core.signing.request import SigV4Credentials


def signed(request: AWSRequest, pair: SigV4Credentials, region: str) -> tuple[tuple[str, str], ...]:
    """Return the headers of a request with its signature, which covers the body."""
    request.context["payload_signing_enabled"] = True
    token = pair.token.reveal() if pair.token else None
    S3SigV4Auth(Credentials(pair.access_key, pair.secret.reveal(), token), "s3", region).add_auth(request)
    return tuple((name, str(value)) for name, value in request.headers.items())
