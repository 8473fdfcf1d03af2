"""One credential, ours: chosen here, put on by the wire layer on a copy that only the wire sees."""

from __future__ import annotations

import logging
import time
from http.client import responses
from typing import TYPE_CHECKING

from wirekey.addons.base import AsyncAdmittingAddon, log_on_error
from wirekey.calls.attempt import prepare_attempt
from wirekey.calls.response_checks import location_for_client
from wirekey.calls.wire_head import wire_head
from wirekey.credentials.pool import retry_after_seconds
from wirekey.credentials.response_head import client_fields, minimal_fields
from wirekey.credentials.scrub import KeyScrubber
from wirekey.credentials.uploads import UPLOAD_URL_HEADERS, id_of_upload_url, readdressed
from wirekey.errors import Fault, Refusal
from wirekey.providers import PROVIDERS
from wirekey.wire.dialling import asked_for

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Server

    from wirekey.call import Call
    from wirekey.calls.services import Services
    from wirekey.calls.signatures import Signatures
    from wirekey.calls.state import CallState
    from wirekey.wire.request_body import RequestBody

logger = logging.getLogger(__name__)

FIRST_REDIRECT_STATUS = 300
UNVERIFIED = Refusal(403, "signature_unverified", "This operation is not signed in a way that could be verified.")
REFUSED_PAIR = frozenset({"UnrecognizedClientException", "ExpiredTokenException", "InvalidClientTokenId"})


class Credentials(AsyncAdmittingAddon):
    async def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        state = self.services.state(flow)
        if state.signed is not None:
            raise UNVERIFIED
        assert state.plan
        await prepare_attempt(self.services, flow, state.plan.start(time.monotonic()))

    @log_on_error
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        state = self.services.states.get(flow.id)
        response = flow.response
        if not (state and response and state.call.attempts):
            return
        if state.call.status is not None:
            return  # an answer of our own
        state.release_body()
        if state.reserved:
            state.reserved.release()
        if not state.settled:
            record_response(self.services, state, response.status_code, response.headers)
        self.clean_head(state, response)
        if state.key and state.call.operation and state.call.operation.name == "upload":
            self.note_upload(state, response)

    def clean_head(self, state: CallState, response: http.Response) -> None:
        """Leave of the head what the client may have of it: no key, and nothing that is meant for another host."""
        response.data.reason = standard_reason(response.status_code)
        try:
            location = location_for_client(self.services, state, response)
            if location is not None:
                response.headers["location"] = location
            response.headers.fields = client_fields(
                response.headers.fields,
                state.secrets,
                encoded=response.status_code >= FIRST_REDIRECT_STATUS,
                at_gateway=bool(state.base),
            )
        except Exception as error:
            self.failed(self.clean_head, error)
            response.headers.fields = minimal_fields(response.headers.fields)

    def note_upload(self, state: CallState, response: http.Response) -> None:
        """Remember whose an upload is that begins with this answer, and let its next request come here too."""
        call, upstream = state.call, state.upstream
        assert upstream
        assert state.judged
        for name in UPLOAD_URL_HEADERS:
            url = response.headers.get(name)
            upload_id = id_of_upload_url(url) if url else None
            if url and upload_id:
                self.services.uploads.remember(
                    upload_id, call.agent.id if call.agent else None, state.token, time.monotonic()
                )
                base = state.base or (f"https://{state.judged.host_header}" if upstream.configured else "")
                if base:
                    response.headers[name] = readdressed(url, upstream.authority, base)

    @log_on_error
    def response(self, flow: http.HTTPFlow) -> None:
        """Let a key rest that the provider refused in the body of its answer, not by the status."""
        state = self.services.states.get(flow.id)
        if not (state and state.key and state.pool and state.tap):
            return
        scrubber = state.tap.filter
        if isinstance(scrubber, KeyScrubber) and scrubber.sign_seen:
            state.pool.record_rejection(state.key, time.monotonic())


def record_response(services: Services, state: CallState, status: int, headers: http.Headers) -> float | None:
    """Take note of how an attempt was answered: of a key that must rest, of AWS credentials that are not known.

    Gives the seconds of Retry-After, None where there are none. To be called once for each attempt that was answered,
    also where its answer reaches nobody.
    """
    wait = retry_after_seconds(headers.get("retry-after"), time.time())
    if state.key and state.pool:
        state.pool.record_status(state.key, status, wait, time.monotonic())
    word = headers.get("x-amzn-errortype", "").partition(":")[0]
    if services.settings.aws and state.aws and word in REFUSED_PAIR:
        services.settings.aws.refused(state.call.agent, state.aws)
    return wait


def wire_request(
    state: CallState, server: Server, signatures: Signatures, *, keep: bool = False
) -> tuple[http.Request, RequestBody]:
    """Give the request as it goes on the wire: the client's own bytes, the upstream's Host, one credential.

    An AWS signature is made last, of what is really sent. The body is kept for as long as the plan has more attempts,
    and with `keep`.

    Raises Refusal where the connection is not TLS with a verified certificate of the very host chosen.
    """
    upstream = state.upstream
    assert upstream
    asked = asked_for.get(server, server.address)
    if not (server.tls_established and server.sni == upstream.host and asked == (upstream.host, upstream.port)):
        raise Refusal(
            502, "upstream_not_trusted", "The connection to the provider is not verified TLS.", Fault.OPERATOR
        )
    assert state.judged
    wire = wire_head(state.judged, state)
    add_credential(wire, state, signatures)
    body = state.body
    if not keep:
        state.release_body_unless_planned()
    return wire, body


def add_credential(wire: http.Request, state: CallState, signatures: Signatures) -> None:
    """Add the one credential of this attempt."""
    headers = wire.data.headers
    if state.add_credential:
        names = {name.lower() for name, _ in state.add_credential}
        headers.fields = (
            tuple(field for field in headers.fields if field[0].lower() not in names) + state.add_credential
        )
    if state.key:
        name, value = key_field(state, wire.data.path.partition(b"?")[0].decode("latin-1"))
        headers.fields += ((name.encode(), value.encode()),)
    if state.aws:
        signed = signatures.sign(wire, state.body, state.aws, state.signing_host, payload_header=state.signs_payload)
        state.signature = signed[-1][1].rpartition(b"Signature=")[2]
        headers.fields += tuple(signed)


def key_field(state: CallState, path: str) -> tuple[str, str]:
    """Give the header that carries the key, where the upstream looks for it."""
    assert state.key
    assert state.choice
    candidate, key = state.choice.candidate, state.key.secret.reveal()
    if state.as_bearer or candidate.auth == "bearer":
        return "authorization", f"Bearer {key}"
    if candidate.auth in ("x-api-key", "x-goog-api-key"):
        return candidate.auth, key
    return PROVIDERS[candidate.provider].credential(key, path)


def standard_reason(status: int) -> bytes:
    """Return the reason phrase of HTTP for a status: a provider's own could quote the key."""
    return responses.get(status, "").encode()
