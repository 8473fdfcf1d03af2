"""The state of a call that is not in its event, because it must be neither stored nor shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.core.identity.proof import NO_PROOF, Proof
from wirekey.feature import FeatureData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mitmproxy import http

    from wirekey.core.body import RequestBody
    from wirekey.core.call import Call
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.held_bytes import Reservation
    from wirekey.core.calls.response_copy import ResponseCopy
    from wirekey.core.calls.response_tap import ResponseTap
    from wirekey.core.credentials.client_supplied import ClientCredential
    from wirekey.core.errors import Refusal
    from wirekey.core.identity.proof import TokenReference
    from wirekey.core.routing.plan import RetryPlan
    from wirekey.core.signing.request import RequestHead

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class CallState:
    """The state of one call. `Calls` keeps it by flow id until the call is recorded. None of it is stored or shown."""

    call: Call
    proof: Proof = NO_PROOF
    """The proof of which agent calls, to look the agent up again."""
    unproven: bool = False
    """Whether a CONNECT came without credentials, as clients send it that wait for a 407. It is not recorded."""
    base: str = ""
    """The client's base_url without its path: http://127.0.0.1:8000. Empty if the call did not come by the gateway."""
    origin: str | None = None
    """The allowed origin of the web page that calls."""
    by_model: bool = False
    """Whether the model decides which provider the path means."""
    named_destination: str | None = None
    """The provider or backend in front of the model's name."""
    own_models: bool = False
    """Whether the gateway itself responds to a request for models, with those of all providers."""
    arrived: RequestHead | None = field(default=None, repr=False)
    """The head as the gateway received it, if it has an AWS signature."""
    request: http.Request | None = field(default=None, repr=False)
    """The head that is decided on and sent, once the flow shows only a redacted one."""
    body: RequestBody = field(default=b"", repr=False)
    """The body that was decided on, before any route changes it. Kept while another attempt may follow."""
    host: str = ""
    """The provider's own host name, even if another host is dialled."""
    unverified: bool = False
    """Whether an agent's AWS key pair signed the head, and the signature is not verified yet."""
    has_turns: bool = False
    """Whether the call has turns, each of which is recorded as a call with its own usage."""
    signs_payload: bool = False
    """Whether the client sends the hash of its body in a header."""
    options: Mapping[str, str] = NO_OPTIONS
    """The headers of the client that are for features (`ClientOption`): lower-case name → value."""
    workspace: str | None = None
    """The project folder that the client names in a header, for a local program."""
    wanted_model: str | None = None
    """The model that the policy wants instead of the requested one."""
    cap: int | None = None
    """The most output tokens that the policy allows."""
    plan: RetryPlan | None = None
    attempt: AttemptState | None = None
    """The attempt that is in progress or was the last; None before the first."""
    was_sent: bool = False
    """Whether the wire layer has sent the request, or is about to."""
    responds_here: bool = False
    """Whether Wirekey or an extension responds in place of a provider."""
    response_recorded: bool = False
    """Whether the status of the response is already in the key's pool: it was recorded to decide on a retry."""
    original_target: bytes = field(default=b"", repr=False)
    """Path and query that were decided on, before any route changes them."""
    client_credential: ClientCredential | None = field(default=None, repr=False)
    client_credential_fields: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    """The client's headers that carry provider keys, unchanged, if a route may use such a key."""
    reserved: Reservation | None = None
    """The memory reserved for the body, from before it is read until a response begins."""
    is_withdrawn: bool = False
    """Whether an HTTP/2 client reset the stream before anything was decided. The call is not recorded."""
    tap: ResponseTap | None = None
    has_all_counts: bool = True
    """Whether the usage that was read of the response is that of the whole response."""
    response_copies: tuple[ResponseCopy, ...] = ()
    """The copies that are made of what the client gets of the response."""
    refused_response: Refusal | None = None
    """Why the response of the provider must not reach the client, by an extension."""
    features: FeatureData = field(default_factory=FeatureData, repr=False)
    """The data that features keep of the call."""

    @property
    def token(self) -> TokenReference | None:
        """The reference to the token that identified the agent, or None if a signature did."""
        return self.proof.tokens[0] if self.proof.tokens else None

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The secrets of the attempt's credential, which no response may quote."""
        return self.attempt.secrets if self.attempt else ()

    def release_body(self) -> None:
        """Release the body, as no other attempt will be made."""
        self.body = b""
        if self.attempt and self.attempt.body:
            self.attempt = structs.replace(self.attempt, body=b"")

    def release_body_unless_planned(self) -> None:
        """Release the body if the plan has no further attempt."""
        if self.attempt is None or self.attempt.planned.is_last:
            self.release_body()
