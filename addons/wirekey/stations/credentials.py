"""One credential, ours: chosen here, put on by the wire layer on a copy that only the wire sees."""

from __future__ import annotations

import logging
import time
from http.client import responses
from typing import TYPE_CHECKING

from wirekey.credentials.pool import retry_after_seconds
from wirekey.credentials.response_head import client_fields, minimal_fields
from wirekey.credentials.scrub import KeyScrubber
from wirekey.credentials.uploads import UPLOAD_URL_HEADERS, id_of_upload_url, readdressed
from wirekey.providers import PROVIDERS
from wirekey.refusal import Fault, Refusal
from wirekey.stations.attempt import equip
from wirekey.stations.response_checks import location_for_client
from wirekey.stations.station import AsyncAdmittingStation, keep_going
from wirekey.stations.wire_head import wire_head
from wirekey.wire.dialling import asked_for

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Server

    from wirekey.call import Call
    from wirekey.stations.house import House
    from wirekey.stations.passage import Passage
    from wirekey.stations.signatures import Signatures
    from wirekey.wire.request_body import RequestBody

logger = logging.getLogger(__name__)

FIRST_REDIRECT_STATUS = 300
UNVERIFIED = Refusal(403, "signature_unverified", "This operation is not signed in a way that could be verified.")
REFUSED_PAIR = frozenset({"UnrecognizedClientException", "ExpiredTokenException", "InvalidClientTokenId"})


class Credentials(AsyncAdmittingStation):
    async def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        passage = self.house.passage(flow)
        if passage.signed is not None:
            raise UNVERIFIED
        assert passage.plan
        await equip(self.house, flow, passage.plan.start(time.monotonic()))

    @keep_going
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        passage = self.house.passages.get(flow.id)
        response = flow.response
        if not (passage and response and passage.call.attempts):
            return
        if passage.call.status is not None:
            return  # an answer of our own
        passage.let_body_go()
        if passage.reserved:
            passage.reserved.release()
        if not passage.settled:
            settle_answer(self.house, passage, response.status_code, response.headers)
        self.clean_head(passage, response)
        if passage.key and passage.call.operation and passage.call.operation.name == "upload":
            self.note_upload(passage, response)

    def clean_head(self, passage: Passage, response: http.Response) -> None:
        """Leave of the head what the client may have of it: no key, and nothing that is meant for another host."""
        response.data.reason = standard_reason(response.status_code)
        try:
            location = location_for_client(self.house, passage, response)
            if location is not None:
                response.headers["location"] = location
            response.headers.fields = client_fields(
                response.headers.fields,
                passage.secrets,
                spelled=response.status_code >= FIRST_REDIRECT_STATUS,
                at_gateway=bool(passage.base),
            )
        except Exception as error:
            self.failed(self.clean_head, error)
            response.headers.fields = minimal_fields(response.headers.fields)

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
                base = passage.base or (f"https://{passage.judged.host_header}" if upstream.configured else "")
                if base:
                    response.headers[name] = readdressed(url, upstream.authority, base)

    @keep_going
    def response(self, flow: http.HTTPFlow) -> None:
        """Let a key rest that the provider refused in the body of its answer, not by the status."""
        passage = self.house.passages.get(flow.id)
        if not (passage and passage.key and passage.pool and passage.tap):
            return
        scrubber = passage.tap.filter
        if isinstance(scrubber, KeyScrubber) and scrubber.sign_seen:
            passage.pool.settle_refused(passage.key, time.monotonic())


def settle_answer(house: House, passage: Passage, status: int, headers: http.Headers) -> float | None:
    """Take note of how an attempt was answered: of a key that must rest, of AWS credentials that are not known.

    Gives the seconds of Retry-After, None where there are none. To be called once for each attempt that was answered,
    also where its answer reaches nobody.
    """
    wait = retry_after_seconds(headers.get("retry-after"), time.time())
    if passage.key and passage.pool:
        passage.pool.settle(passage.key, status, wait, time.monotonic())
    word = headers.get("x-amzn-errortype", "").partition(":")[0]
    if house.settings.aws and passage.aws and word in REFUSED_PAIR:
        house.settings.aws.refused(passage.call.agent, passage.aws)
    return wait


def wire_request(
    passage: Passage, server: Server, signatures: Signatures, *, keep: bool = False
) -> tuple[http.Request, RequestBody]:
    """Give the request as it goes on the wire: the client's own bytes, the upstream's Host, one credential.

    An AWS signature is made last, of what is really sent. The body is kept for as long as the plan has more attempts,
    and with `keep`.

    Raises Refusal where the connection is not TLS with a verified certificate of the very host chosen.
    """
    upstream = passage.upstream
    assert upstream
    asked = asked_for.get(server, server.address)
    if not (server.tls_established and server.sni == upstream.host and asked == (upstream.host, upstream.port)):
        raise Refusal(
            502, "upstream_not_trusted", "The connection to the provider is not verified TLS.", Fault.OPERATOR
        )
    assert passage.judged
    wire = wire_head(passage.judged, passage)
    put_on(wire, passage, signatures)
    body = passage.body
    if not keep:
        passage.let_body_go_unless_planned()
    return wire, body


def put_on(wire: http.Request, passage: Passage, signatures: Signatures) -> None:
    """Add the one credential of this attempt."""
    headers = wire.data.headers
    if passage.put_on:
        names = {name.lower() for name, _ in passage.put_on}
        headers.fields = tuple(field for field in headers.fields if field[0].lower() not in names) + passage.put_on
    if passage.key:
        name, value = key_field(passage, wire.data.path.partition(b"?")[0].decode("latin-1"))
        headers.fields += ((name.encode(), value.encode()),)
    if passage.aws:
        signed = signatures.sign(
            wire, passage.body, passage.aws, passage.signing_host, payload_header=passage.signs_payload
        )
        passage.signature = signed[-1][1].rpartition(b"Signature=")[2]
        headers.fields += tuple(signed)


def key_field(passage: Passage, path: str) -> tuple[str, str]:
    """Give the header that carries the key, where the upstream looks for it."""
    assert passage.key
    assert passage.choice
    candidate, key = passage.choice.candidate, passage.key.secret.reveal()
    if passage.as_bearer or candidate.auth == "bearer":
        return "authorization", f"Bearer {key}"
    if candidate.auth in ("x-api-key", "x-goog-api-key"):
        return candidate.auth, key
    return PROVIDERS[candidate.provider].credential(key, path)


def standard_reason(status: int) -> bytes:
    """Return the reason phrase of HTTP for a status: a provider's own could quote the key."""
    return responses.get(status, "").encode()
