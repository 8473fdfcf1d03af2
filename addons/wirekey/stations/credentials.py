"""One credential, ours: chosen here, put on by the wire layer on a copy that only the wire sees."""

from __future__ import annotations

import copy
import logging
import time
from typing import TYPE_CHECKING

from mitmproxy import http

from wirekey.credentials.aws import CredentialsUnavailable
from wirekey.credentials.client_held import missing
from wirekey.credentials.pool import Key, retry_after_seconds
from wirekey.credentials.scrub import KeyScrubber, scrub
from wirekey.credentials.slots import connection_named
from wirekey.credentials.uploads import UPLOAD_URL_HEADERS, id_of_upload_url, readdressed, upload_ids
from wirekey.providers import PROVIDERS
from wirekey.refusal import Fault, Refusal
from wirekey.stations.station import AsyncAdmittingStation, keep_going
from wirekey.wire.dialling import asked_for

if TYPE_CHECKING:
    from mitmproxy.connection import Server

    from wirekey.call import Call
    from wirekey.credentials.aws import AwsCredentials
    from wirekey.stations.house import Passage
    from wirekey.stations.signatures import Signatures

logger = logging.getLogger(__name__)

UNVERIFIED = Refusal(403, "signature_unverified", "This operation is not signed in a way that could be verified.")
REFUSED_PAIR = frozenset({"UnrecognizedClientException", "ExpiredTokenException", "InvalidClientTokenId"})
HOP_BY_HOP = frozenset({b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-connection"})


class Credentials(AsyncAdmittingStation):
    async def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        assert call.provider
        passage = self.house.passage(flow)
        if passage.signed is not None:
            raise UNVERIFIED
        if call.provider == "gemini" and upload_ids(self.house.judged(flow).path):
            # Its upload_id is the credential; it carries no other.
            call.credential = "upload"
            return
        mode = self.house.settings.credentials.get(call.provider, "inject")
        if mode != "inject":
            take_brought(passage, call.provider, mode)
            return
        passage.pool = self.house.settings.pools.get(call.provider)
        passage.key = passage.pool.choose(time.monotonic()) if passage.pool else None
        if passage.key is None and call.provider == "bedrock" and self.house.settings.aws:
            await self.find_aws(self.house.settings.aws, passage)
            return
        if passage.key is None:
            raise Refusal(503, "no_provider_key", no_key(call.provider), Fault.OPERATOR)
        call.credential = passage.key.label

    async def find_aws(self, aws: AwsCredentials, passage: Passage) -> None:
        call = passage.call
        try:
            passage.aws = aws.current(call.agent) or await aws.fetch(call.agent)
        except CredentialsUnavailable as error:
            raise Refusal(503, "no_provider_key", f"{no_key('bedrock')} {error}", Fault.OPERATOR) from error
        call.credential = "bedrock/aws"

    @keep_going
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        passage = self.house.passages.get(flow.id)
        response = flow.response
        if not (passage and response and passage.call.attempts):
            return
        if passage.call.status is not None:
            return  # an answer of our own
        if passage.aws:
            self.note_refused_pair(passage, response)
        if passage.key and passage.pool:
            wait = retry_after_seconds(response.headers.get("retry-after"), time.time())
            passage.pool.settle(passage.key, response.status_code, wait, time.monotonic())
        quotable, fields = passage.quotable, response.headers.fields
        if quotable and any(quotable in value for _, value in fields):
            response.headers.fields = tuple((name, scrub(value, quotable)) for name, value in fields)
        if passage.key and passage.call.operation and passage.call.operation.name == "upload":
            self.note_upload(passage, response)

    def note_refused_pair(self, passage: Passage, response: http.Response) -> None:
        """Look for other credentials where AWS does not know these any more."""
        word = response.headers.get("x-amzn-errortype", "").partition(":")[0]
        if self.house.settings.aws and passage.aws and word in REFUSED_PAIR:
            self.house.settings.aws.refused(passage.call.agent, passage.aws)

    def note_upload(self, passage: Passage, response: http.Response) -> None:
        """Remember whose an upload is that begins with this answer, and let its next request come here too."""
        call, upstream = passage.call, passage.upstream
        assert upstream
        assert passage.judged
        for name in UPLOAD_URL_HEADERS:
            url = response.headers.get(name)
            upload_id = id_of_upload_url(url) if url else None
            if url and upload_id:
                self.house.uploads.remember(
                    upload_id, call.agent.id if call.agent else None, passage.token, time.monotonic()
                )
                if upstream.configured and passage.judged.host_header:
                    response.headers[name] = readdressed(url, upstream.authority, passage.judged.host_header)

    @keep_going
    def response(self, flow: http.HTTPFlow) -> None:
        """Let a key rest that the provider refused in the body of its answer, not by the status."""
        passage = self.house.passages.get(flow.id)
        if not (passage and passage.key and passage.pool and passage.tap):
            return
        scrubber = passage.tap.filter
        if isinstance(scrubber, KeyScrubber) and scrubber.sign_seen:
            passage.pool.settle_refused(passage.key, time.monotonic())


def take_brought(passage: Passage, provider: str, mode: str) -> None:
    """Use what the client brought, and nothing of ours. Raises Refusal where it brought nothing."""
    held = passage.brought
    if held is None:
        raise missing(provider, passes=mode == "passthrough")
    label = passage.call.credential = f"{provider}/{mode}"
    if held.key:
        passage.key = Key(label, held.key)
    passage.aws = held.pair


def no_key(provider: str) -> str:
    return (
        f"Wirekey has no key for {provider}. Its operator sets {PROVIDERS[provider].key_setting} in the environment or "
        f"providers.{provider} in wirekey.yaml."
    )


def wire_request(passage: Passage, server: Server, signatures: Signatures) -> tuple[http.Request, bytes]:
    """Give the request as it goes on the wire: the client's own bytes, the upstream's Host, one credential.

    An AWS signature is made last, of what is really sent.

    Raises Refusal where the connection is not TLS with a verified certificate of the very host chosen.
    """
    call, upstream = passage.call, passage.upstream
    assert upstream
    assert call.provider
    asked = asked_for.get(server, server.address)
    if not (server.tls_established and server.sni == upstream.host and asked == (upstream.host, upstream.port)):
        raise Refusal(
            502, "upstream_not_trusted", "The connection to the provider is not verified TLS.", Fault.OPERATOR
        )
    judged = passage.judged
    assert judged
    wire: http.Request = copy.copy(judged)
    wire.data = copy.copy(judged.data)
    fields = judged.headers.fields
    marked = connection_named((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
    named = {name.encode("latin-1") for name in marked}
    authority = upstream.authority
    wire_fields = [
        (name, authority.encode() if lower == b"host" else value)
        for name, value in fields
        if (lower := name.lower()) not in HOP_BY_HOP and lower not in named
    ]
    if passage.key:
        name, value = PROVIDERS[call.provider].credential(passage.key.secret.reveal(), call.target)
        if passage.pool is None and passage.brought and passage.brought.bearer:
            name, value = "authorization", f"Bearer {passage.key.secret.reveal()}"
        wire_fields.append((name.encode(), value.encode()))
    if wire.data.authority:
        wire.data.authority = authority.encode()
    wire.data.headers = http.Headers(wire_fields)
    set_length(wire, passage)
    if passage.aws:
        wire.data.headers.fields += tuple(
            signatures.sign(wire, passage.body, passage.aws, passage.host, payload_header=passage.signs_payload)
        )
    call.attempts += 1
    body, passage.body = passage.body, b""
    return wire, body


def set_length(wire: http.Request, passage: Passage) -> None:
    """State the length of a body read whole; frame a streamed body of unknown length for an HTTP/1.1 upstream."""
    headers = wire.data.headers
    if passage.body or ("content-length" in headers and passage.call.reads_body):
        headers.pop("transfer-encoding", None)
        if headers.get("content-length") != str(len(passage.body)):
            headers["content-length"] = str(len(passage.body))
