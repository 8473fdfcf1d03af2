"""Verifies the AWS signatures of agents in one process, and remembers which were used."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from wirekey.core.calls.agent_signatures import AgentSignatures, claimed_pairs, is_for_aws
from wirekey.core.calls.upstream_signatures import digest_of, endpoint_of
from wirekey.core.errors import Refusal
from wirekey.core.identity.aws_pairs import PREFIX
from wirekey.core.identity.proof import Proof
from wirekey.core.identity.refusals import TWO_AGENTS
from wirekey.core.signing.event_signatures import EVENTS_PAYLOAD, EventSignatures, signs_events
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.signing.request import SigV4Credentials, UnreadableRequestError
from wirekey.core.signing.signature_parsing import signature_of
from wirekey.features.aws_signatures.refusals import FOREIGN_PAIR, REVOKED, refusal_of
from wirekey.features.aws_signatures.replay import ReplayWindow
from wirekey.features.aws_signatures.shared_uses import SharedUses

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.signing.request import RequestHead
    from wirekey.features.aws_signatures.verify import VerifiedSignature, Verifier

RETRIED_STATUSES = frozenset({408, 429})


@dataclass(slots=True)
class AgentSignature:
    """The signature of an agent's pair on one call. `head`: as it was signed, until it is verified."""

    head: RequestHead | None = field(repr=False)
    verified: VerifiedSignature | None = None


class VerifiedSignatures(AgentSignatures):
    """Verifies the signatures of agents, each of which may be used once."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.replays = ReplayWindow()
        self.shared_uses = SharedUses(services.sharing)

    @cached_property
    def verifier(self) -> Verifier:
        """The verifier. It is imported when it is first used: botocore takes 5 MB."""
        from wirekey.features.aws_signatures.verify import Verifier

        return Verifier(self.credentials_of)

    def load(self) -> None:
        """Import the verifier, so that the first call need not wait for it."""
        _ = self.verifier

    def credentials_of(self, access_key: str) -> SigV4Credentials | None:
        """Return the key pair with this access key, if an agent has it."""
        found = self.services.agents.find_pair(access_key)
        return SigV4Credentials(access_key, found[1].secret) if found else None

    def keep(self, state: CallState, request: http.Request, head: RequestHead) -> None:
        """Keep the signature of an agent's pair until the body arrives. Any other signature is removed later.

        A signature that claims to be of an agent's pair is never ignored: it must agree with every other identity of
        the request. Raises Refusal, which says what is wrong with the signature if the request has no other identity.
        """
        if not is_for_aws(state):
            self.compare_pairs(state, head)
            return
        if state.call.agent is None:
            if not is_ours(head):
                raise FOREIGN_PAIR
        elif not claimed_pairs(head) or not is_ours(head):
            return
        state.features.put(AgentSignature(head))
        state.unverified = True
        # Without a body, or if its events are signed instead, the signature is verified now.
        if signs_events(head):
            self.verify_with(state, EVENTS_PAYLOAD)
        elif has_no_body(request):
            self.verify_with(state, digest_of(b""))

    def compare_pairs(self, state: CallState, head: RequestHead) -> None:
        """Raise Refusal if a signature for another provider than Bedrock names a different agent than the tokens."""
        agent = state.call.agent
        for access_key in claimed_pairs(head):
            owner = self.services.agents.find_pair(access_key)
            if owner is None:
                raise FOREIGN_PAIR
            if agent is not None and owner[0].id != agent.id:
                raise TWO_AGENTS

    def verify(self, state: CallState) -> None:
        """Verify the signature that was kept, and make its agent the agent of the call. Raises Refusal."""
        self.verify_with(state, digest_of(state.body))

    def verify_with(self, state: CallState, digest: str) -> None:
        """Verify a signature over this SHA-256 of the body, in hexadecimal, or over EVENTS_PAYLOAD. Raises Refusal."""
        call, now = state.call, time.time()
        kept = state.features.find(AgentSignature)
        assert kept
        assert kept.head
        try:
            verified = self.verifier.verify(kept.head, digest, endpoint_of(state.host), now)
            self.replays.admit(verified, call.client or "", now)
        except SignatureRefused as refused:
            raise refusal_of(refused) from refused
        found = self.services.agents.find_pair(verified.access_key)
        if found is None:
            raise REVOKED
        kept.verified, kept.head = verified, None
        if call.agent is not None and call.agent.id != found[0].id:
            raise TWO_AGENTS
        proof = state.proof
        state.proof = Proof(proof.tokens, verified.access_key, proof.accepted_at or time.time())
        call.agent, state.unverified = found[0], False

    def admit(self, state: CallState) -> Awaitable[None] | None:
        """Note the use of a verified signature with the other processes, if there are any. Raises Refusal."""
        verified = verified_signature(state)
        if verified is None or not self.services.sharing.is_needed:
            return None
        return self.shared_uses.admit(verified, state.call.client or "")

    def signs_events(self, state: CallState) -> bool:
        """Return whether the verified signature covers a stream of events in place of the body."""
        verified = verified_signature(state)
        return verified is not None and verified.signs_events

    def received_events(self, state: CallState) -> EventSignatures | None:
        """Return the client's signatures of its events; None if something else identified it. Raises Refusal."""
        verified = verified_signature(state)
        if verified is None:
            return None
        pair = self.credentials_of(verified.access_key)
        if pair is None:
            raise REVOKED
        keys = self.services.upstream_signatures.event_keys
        return EventSignatures(pair, verified.region, verified.service, verified.signature, keys)

    def settle(self, state: CallState) -> None:
        """Allow a signature to be used again if its call got no response, or one that clients retry."""
        verified = verified_signature(state)
        if verified is None:
            return
        status = state.call.status
        if status is None or status in RETRIED_STATUSES or status >= 500:
            self.replays.release(verified)
            self.shared_uses.release(verified)


def verified_signature(state: CallState) -> VerifiedSignature | None:
    """Return the signature that identified the agent of a call, or None if something else did."""
    kept = state.features.find(AgentSignature)
    return kept.verified if kept else None


def is_ours(head: RequestHead) -> bool:
    """Return whether an agent's pair made the signature. Raises Refusal if it cannot be read."""
    try:
        return signature_of(head).access_key.startswith(PREFIX)
    except SignatureRefused as refused:
        raise refusal_of(refused) from refused
    except UnreadableRequestError as error:
        raise Refusal(400, "malformed", str(error)) from error


def has_no_body(request: http.Request) -> bool:
    """Return whether the head says that there is no body."""
    headers = request.headers
    return "transfer-encoding" not in headers and headers.get("content-length", "0") == "0" and request.method != "POST"
