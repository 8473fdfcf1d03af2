"""Chooses the credential of a call. The wire layer adds it, on a copy of the request that no addon sees."""

from __future__ import annotations

import logging
import time
from http.client import responses
from typing import TYPE_CHECKING

from wirekey.core.addons.base import AdmittingAddon
from wirekey.core.addons.policy import may_fall_back
from wirekey.core.calls.attempt import prepare_attempt
from wirekey.core.calls.message_copy import duplicate
from wirekey.core.calls.response_checks import location_for_client
from wirekey.core.credentials.pool import retry_after_seconds
from wirekey.core.credentials.response_head import client_fields, minimal_fields
from wirekey.core.credentials.scrub import KeyScrubber
from wirekey.core.credentials.uploads import UPLOAD_URL_HEADERS, id_of_upload_url, with_gateway_base
from wirekey.core.errors import Refusal
from wirekey.core.routing.accounts import check_account

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.routing.candidate import Upstream
    from wirekey.core.routing.plan import Attempt

logger = logging.getLogger(__name__)

FIRST_REDIRECT_STATUS = 300
SWITCHING_PROTOCOLS = 101
UNVERIFIED = Refusal(403, "signature_unverified", "This operation is not signed in a way that could be verified.")
REFUSED_PAIR = frozenset({"UnrecognizedClientException", "ExpiredTokenException", "InvalidClientTokenId"})


class Credentials(AdmittingAddon):
    """Prepares the first attempt of a call, and removes what a response says of the credential.

    It reads the plan that `Routing` made. It leaves the `AttemptState`. From the response it learns whether the key
    must cool down, and which agent an upload belongs to.
    """

    decides_own_calls = True

    def admit(self, flow: http.HTTPFlow, call: Call) -> Awaitable[None] | None:
        """Prepare the first attempt. Raises Refusal if there is no credential for it."""
        state = self.calls.state(flow)
        if state.unverified:
            raise UNVERIFIED
        assert state.plan
        first = state.plan.start(time.monotonic())
        check_account(first, call.model)
        if state.plan.session is not None and self.services.sharing.is_needed and first.key and first.candidate.pool:
            self.services.sharing.remember_session(state.plan.session, first.candidate.pool, first.key)
        if first.candidate.if_limited:
            return self.admit_fallback(flow, call, first)
        return prepare_attempt(self.services, flow, first)

    async def admit_fallback(self, flow: http.HTTPFlow, call: Call, first: Attempt) -> None:
        """Prepare a first attempt with another model, as all accounts cool down. Raises Refusal."""
        model, accounts = first.candidate.model, first.candidate.accounts
        assert model
        assert accounts
        if not await may_fall_back(self.services, flow, call, model.name):
            raise accounts.all_limited(call.model or "")
        if waiting := prepare_attempt(self.services, flow, first):
            await waiting

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Release the request body, record the status in the key's pool, and clean the response head."""
        state = self.calls.find(flow)
        response = flow.response
        if not (state and response and state.call.attempts):
            return
        if state.call.status is not None:
            return  # Wirekey's own response
        received = duplicate(response.headers)
        self.clean_head(state, response)  # first: if anything else fails, the client still does not get the key
        state.release_body()
        if state.reserved:
            state.reserved.release()
        if not state.response_recorded:
            record_response(self.services, state, response.status_code, received)
        attempt, operation = state.attempt, state.call.operation
        if attempt and attempt.key and operation and operation.name == "upload":
            self.note_upload(state, attempt.upstream, response)

    def clean_head(self, state: CallState, response: http.Response) -> None:
        """Remove from the response head what the client must not get: the key, and names that lead past Wirekey."""
        response.data.reason = standard_reason(response.status_code)
        try:
            location = location_for_client(self.services.settings.hosts, state, response)
            if location is not None:
                response.headers["location"] = location
            response.headers.fields = client_fields(
                response.headers.fields,
                state.secrets,
                encoded=response.status_code >= FIRST_REDIRECT_STATUS,
                at_gateway=bool(state.base),
            )
            if response.status_code == SWITCHING_PROTOCOLS:
                response.headers.fields += ((b"upgrade", b"websocket"),)  # named by Connection, and so removed
        except Exception as error:
            self.log_failure("clean_head", error)
            response.headers.fields = minimal_fields(response.headers.fields)

    def note_upload(self, state: CallState, upstream: Upstream, response: http.Response) -> None:
        """Remember the agent of an upload that this response begins, and have its next request sent here, too."""
        call = state.call
        assert state.request
        for name in UPLOAD_URL_HEADERS:
            url = response.headers.get(name)
            upload_id = id_of_upload_url(url) if url else None
            if url and upload_id:
                self.services.sharing.remember_upload(upload_id, call.agent.id if call.agent else None, state.token)
                base = state.base or (f"https://{state.request.host_header}" if upstream.configured else "")
                if base:
                    response.headers[name] = with_gateway_base(url, upstream.authority, base)

    def response(self, flow: http.HTTPFlow) -> None:
        """Cool down a key that the provider rejected in the response body rather than by the status."""
        state = self.calls.find(flow)
        attempt = state.attempt if state else None
        if not (state and attempt and attempt.key and attempt.pool and state.tap):
            return
        scrubber = state.tap.filter
        if isinstance(scrubber, KeyScrubber) and scrubber.sign_seen:
            self.services.sharing.record_rejection(attempt.pool, attempt.key, time.monotonic())


def record_response(services: Services, state: CallState, status: int, headers: http.Headers) -> float | None:
    """Record the status of a response: a key may have to cool down, AWS credentials may be rejected.

    Call it once for each attempt that got a response, even if the client does not get that response. Returns the
    seconds of Retry-After, or None if the response has no such header.
    """
    wait = retry_after_seconds(headers.get("retry-after"), time.time())
    attempt = state.attempt
    if attempt:
        for steps in attempt.steps:
            steps.note_status(services.settings, attempt, status, wait)
    if attempt and attempt.key and attempt.pool:
        services.sharing.record_status(attempt.pool, attempt.key, status, wait, time.monotonic())
    if attempt and attempt.aws and headers.get("x-amzn-errortype", "").partition(":")[0] in REFUSED_PAIR:
        aws = attempt.planned.candidate.aws or services.settings.aws
        if aws:
            aws.refused(state.call.agent, attempt.aws)
    return wait


def standard_reason(status: int) -> bytes:
    """Return HTTP's reason phrase for a status. A provider's own could quote the key."""
    return responses.get(status, "").encode()
