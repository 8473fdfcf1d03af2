"""AWS signatures of requests to providers, made with the organisation's credentials."""

from __future__ import annotations

import asyncio
import hashlib
import time
from functools import cached_property
from typing import TYPE_CHECKING

from wirekey.core.egress.hosts import region_of
from wirekey.core.signing.event_signatures import EVENTS_PAYLOAD, EventResigner, EventSignatures
from wirekey.core.signing.request import Endpoint, RequestHead

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.body import RequestBody
    from wirekey.core.signing.canonical import SigningKeyCache
    from wirekey.core.signing.request import SigV4Credentials
    from wirekey.core.signing.sign import RequestSigner

SERVICE = "bedrock"
EMPTY = hashlib.sha256(b"").hexdigest()


class UpstreamSignatures:
    """Makes the signatures of one process."""

    # Imported when first used: botocore takes 5 MB.

    @cached_property
    def signer(self) -> RequestSigner:
        """The signer of requests to AWS."""
        from wirekey.core.signing.sign import RequestSigner

        return RequestSigner()

    @cached_property
    def event_keys(self) -> SigningKeyCache:
        """The keys that sign events, of agents and of the organisation."""
        from wirekey.core.signing.canonical import SigningKeyCache

        return SigningKeyCache()

    def load(self) -> None:
        """Import what signatures need, so that the first call need not wait for it."""
        _ = self.signer

    def resigner(
        self, received: EventSignatures | None, credentials: SigV4Credentials, host: str, signature: str
    ) -> EventResigner:
        """Return what passes on the events of a request whose head was signed for the provider.

        `received`: the client's signatures of the events, None if something else identified the client. `host`: the
        provider's own. `signature`: that of the head as it is sent.
        """
        endpoint = endpoint_of(host)
        sent = EventSignatures(credentials, endpoint.region, endpoint.service, signature, self.event_keys)
        return EventResigner(received, sent)

    def sign(
        self,
        request: http.Request,
        body: RequestBody | None,
        credentials: SigV4Credentials,
        host: str,
        *,
        payload_header: bool,
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers to add. `host`: the provider's own, which names region and service.

        `body`: None if it is a stream of events that are signed as they are sent.
        """
        head = RequestHead(request.method, request.data.path, request.headers.fields, request.data.authority)
        digest = EVENTS_PAYLOAD if body is None else digest_of(body)
        return self.signer.sign(
            head, digest, credentials, endpoint_of(host), time.time(), payload_header=payload_header or body is None
        )


def endpoint_of(host: str) -> Endpoint:
    """Return region and service of a host of Bedrock."""
    bedrock = region_of(host)
    assert bedrock
    return Endpoint(bedrock.region, SERVICE)


async def make_digest(body: RequestBody) -> None:
    """Hash a large body that was edited, in a thread. Its signature needs the hash."""
    if not isinstance(body, bytes) and body.sha256 is None:
        await asyncio.to_thread(body.digest)


def digest_of(body: RequestBody) -> str:
    """Return the SHA-256 of a body, in hexadecimal."""
    if not isinstance(body, bytes):
        return body.digest()
    return hashlib.sha256(body).hexdigest() if body else EMPTY
