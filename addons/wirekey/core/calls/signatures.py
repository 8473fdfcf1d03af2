"""AWS signatures: that of an agent's pair is verified, and a new one is made with the organisation's credentials.

The access key of an agent's pair begins with WKEY. A signature with any other key identifies no agent. It is removed,
and a call that has another identity continues.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from wirekey.core.egress.hosts import region_of
from wirekey.core.errors import Refusal
from wirekey.core.identity.aws_pairs import ACCESS_KEY, PREFIX
from wirekey.core.identity.client_tokens import header_tokens
from wirekey.core.signing.event_signatures import EVENTS_PAYLOAD, EventResigner, EventSignatures
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.signing.replay import ReplayWindow
from wirekey.core.signing.request import Endpoint, RequestHead, SigV4Credentials, UnreadableRequestError
from wirekey.core.signing.signature_parsing import has_signature, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy import http

    from wirekey.core.body import RequestBody
    from wirekey.core.call import Agent, Call
    from wirekey.core.identity.aws_pairs import KeyPair
    from wirekey.core.signing.canonical import SigningKeyCache
    from wirekey.core.signing.sign import RequestSigner
    from wirekey.core.signing.verify import VerifiedSignature, Verifier

SERVICE = "bedrock"
RETRIED_STATUSES = frozenset({408, 429})
EMPTY = hashlib.sha256(b"").hexdigest()


class Signatures:
    """Verifies, remembers and makes the signatures of one process."""

    def __init__(self, find_pair: Callable[[str], tuple[Agent, KeyPair] | None]) -> None:
        self.find_pair = find_pair
        self.replays = ReplayWindow()

    # Imported when first used: botocore takes 5 MB.

    @cached_property
    def verifier(self) -> Verifier:
        """The verifier of agents' signatures."""
        from wirekey.core.signing.verify import Verifier

        return Verifier(self.credentials_of)

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
        _ = self.verifier, self.signer

    def credentials_of(self, access_key: str) -> SigV4Credentials | None:
        """Return the key pair with this access key, if an agent has it."""
        found = self.find_pair(access_key)
        return SigV4Credentials(access_key, found[1].secret) if found else None

    def verify(
        self, head: RequestHead, body: RequestBody | None, host: str, call: Call
    ) -> tuple[Agent, VerifiedSignature]:
        """Return the agent that signed, and the signature. Raises Refusal with AWS's own error message.

        `body`: None if it is a stream of events that are verified as they arrive.
        """
        now = time.time()
        digest = EVENTS_PAYLOAD if body is None else digest_of(body)
        try:
            verified = self.verifier.verify(head, digest, endpoint_of(host), now)
            self.replays.admit(verified, call.client or "", now)
        except SignatureRefused as refused:
            raise refusal_of(refused) from refused
        found = self.find_pair(verified.access_key)
        if found is None:
            raise Refusal(401, "unknown_agent", "The agent of this key pair was revoked just now.")
        return found[0], verified

    def settle(self, verified: VerifiedSignature, status: int | None) -> bool:
        """Allow a signature to be used again if its call got no response, or one that clients retry.

        Return whether it was allowed.
        """
        may_be_used = status is None or status in RETRIED_STATUSES or status >= 500
        if may_be_used:
            self.replays.release(verified)
        return may_be_used

    def resigner(
        self, verified: VerifiedSignature | None, credentials: SigV4Credentials, host: str, signature: str
    ) -> EventResigner:
        """Return what passes on the events of a request whose head was signed for the provider. Raises Refusal.

        `verified`: the client's signature of the head, None if something else identified the client. `host`: the
        provider's own. `signature`: that of the head as it is sent.
        """
        keys, endpoint, received = self.event_keys, endpoint_of(host), None
        if verified is not None:
            pair = self.credentials_of(verified.access_key)
            if pair is None:
                raise Refusal(401, "unknown_agent", "The agent of this key pair was revoked just now.")
            received = EventSignatures(pair, verified.region, verified.service, verified.signature, keys)
        return EventResigner(received, EventSignatures(credentials, endpoint.region, endpoint.service, signature, keys))

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


def signed_head(request: http.Request, *, tls: bool = True) -> RequestHead | None:
    """Return the request as it was signed, without agent tokens; None if it has no AWS signature."""
    head = RequestHead(request.method, request.data.path, request.headers.fields, request.data.authority, tls)
    return without_tokens(head) if has_signature(head) else None


def is_ours(head: RequestHead) -> bool:
    """Return whether an agent's pair made the signature. Raises Refusal if it cannot be read."""
    try:
        return signature_of(head).access_key.startswith(PREFIX)
    except SignatureRefused as refused:
        raise refusal_of(refused) from refused
    except UnreadableRequestError as error:
        raise Refusal(400, "malformed", str(error)) from error


def without_tokens(head: RequestHead) -> RequestHead:
    """Return the head without agent tokens in Authorization, which are looked up separately and never signed."""
    kept = [field for field in head.headers if not (field[0].lower() == b"authorization" and is_token(field[1]))]
    return head if len(kept) == len(head.headers) else replace(head, headers=kept)


def is_token(value: bytes) -> bool:
    """Return whether the value of an Authorization header is an agent token."""
    return bool(header_tokens([("authorization", value.decode("latin-1"))], ""))


def claimed_pairs(head: RequestHead) -> list[str]:
    """Return the access keys of agents that a request names, also in a signature that cannot be read."""
    written = [value for name, value in head.headers if name.lower() == b"authorization"]
    query = unquote_to_bytes(head.target.partition(b"?")[2])
    text = b"\n".join((*written, query)).decode("latin-1")
    return list(dict.fromkeys(ACCESS_KEY.findall(text)))


def refusal_of(refused: SignatureRefused) -> Refusal:
    """Return the refusal of a call whose signature was refused."""
    return Refusal(403, "signature_refused", refused.message, error_type=refused.code)


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


def has_no_body(request: http.Request) -> bool:
    """Return whether the head says that there is no body."""
    headers = request.headers
    return "transfer-encoding" not in headers and headers.get("content-length", "0") == "0" and request.method != "POST"
