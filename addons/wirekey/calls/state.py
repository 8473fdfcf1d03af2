"""What a call carries through the house besides its record."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wirekey.identity.proof import NO_PROOF, Proof

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.body import RequestBody
    from wirekey.call import Call
    from wirekey.calls.attempt_state import AttemptState
    from wirekey.calls.held_bytes import Reservation
    from wirekey.calls.response_tap import ResponseTap
    from wirekey.credentials.client_supplied import ClientCredential
    from wirekey.identity.jwt_tokens import TokenReference
    from wirekey.routing.plan import RetryPlan
    from wirekey.signing.request import RequestHead
    from wirekey.signing.verify import VerifiedSignature


@dataclass(slots=True)
class CallState:
    """One call's. Nothing here is ever stored or shown."""

    call: Call
    proof: Proof = NO_PROOF
    """What said which agent calls, to be looked up again."""
    unproven: bool = False
    """Whether a proxy was asked for without any credentials: a client that waits to be asked for them does so."""
    base: str = ""
    """The client's base_url, without a path, where it came by the gateway: http://127.0.0.1:8000."""
    origin: str | None = None
    """The allowed origin of the web page that calls."""
    by_model: bool = False
    """Whether the path leaves it to the model which provider is meant."""
    own_models: bool = False
    """Whether a question for models is about all providers, and answered by the gateway itself."""
    arrived: RequestHead | None = field(default=None, repr=False)
    """The head as the gateway got it, where it bears an AWS signature."""
    request: http.Request | None = field(default=None, repr=False)
    """The head that is decided on and sent, once the flow only shows a redacted one."""
    body: RequestBody = field(default=b"", repr=False)
    """The body that was decided on, before any route changes it. Kept while another attempt may follow."""
    host: str = ""
    """The provider's own name that was called, whatever is dialled."""
    signed: RequestHead | None = field(default=None, repr=False)
    """The head as an agent's AWS key pair signed it, until that is verified with the body."""
    verified: VerifiedSignature | None = None
    signs_payload: bool = False
    """Whether the client says the hash of its body in a header."""
    wanted_model: str | None = None
    """The model that the policy wants to be used instead."""
    cap: int | None = None
    """The most output tokens that the policy lets the call ask for."""
    plan: RetryPlan | None = None
    attempt: AttemptState | None = None
    """The attempt that is under way or was the last; None before the first."""
    response_recorded: bool = False
    """Whether the status of the response is already in the key's pool: it was recorded to decide on a retry."""
    original_target: bytes = field(default=b"", repr=False)
    """Path and query that were decided on, before any route changes them."""
    client_credential: ClientCredential | None = field(default=None, repr=False)
    client_credential_fields: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    """Headers made for credentials that a client holds itself, as they came, where a call may go out with one."""
    reserved: Reservation | None = None
    """For the body, from before it is read until an answer comes."""
    is_withdrawn: bool = False
    """Whether an HTTP/2 client reset the stream before anything was decided: the call is not recorded."""
    tap: ResponseTap | None = None

    @property
    def token(self) -> TokenReference | None:
        """Return what is kept of the token that said which agent calls."""
        return self.proof.tokens[0] if self.proof.tokens else None

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What no response may quote of the credential of the attempt."""
        return self.attempt.secrets if self.attempt else ()

    def release_body(self) -> None:
        """Release the body, as no other attempt will be made."""
        self.body = b""
        if self.attempt and self.attempt.body:
            self.attempt = replace(self.attempt, body=b"")

    def release_body_unless_planned(self) -> None:
        """Release the body if the plan has no further attempt."""
        if self.attempt is None or self.attempt.planned.is_last:
            self.release_body()
