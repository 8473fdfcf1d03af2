"""What a call carries through the house besides its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.credential_headers import is_credential_header
from wirekey.credentials.scrub import SHORTEST_SECRET
from wirekey.identity.proof import NO_PROOF, Proof

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.call import Call
    from wirekey.calls.held_bytes import Reservation
    from wirekey.calls.response_tap import ResponseTap
    from wirekey.credentials.client_supplied import ClientCredential
    from wirekey.credentials.pool import KeyPool, ProviderKey
    from wirekey.identity.jwt_tokens import TokenReference
    from wirekey.routing.candidate import Upstream
    from wirekey.routing.plan import Attempt, RetryPlan
    from wirekey.signing.request import RequestHead, SigV4Credentials
    from wirekey.signing.verify import VerifiedSignature
    from wirekey.wire.delegate import WireLimits
    from wirekey.wire.request_body import RequestBody


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
    host: str = ""
    """The provider's own name that was called, whatever is dialled."""
    signed: RequestHead | None = field(default=None, repr=False)
    """The head as an agent's AWS key pair signed it, until that is verified with the body."""
    verified: VerifiedSignature | None = None
    signature: bytes = field(default=b"", repr=False)
    """The AWS signature that the present attempt went out with."""
    signs_payload: bool = False
    """Whether the client says the hash of its body in a header."""
    aws: SigV4Credentials | None = field(default=None, repr=False)
    """What the call is signed with on the wire."""
    wanted_model: str | None = None
    """The model that the policy wants to be used instead."""
    cap: int | None = None
    """The most output tokens that the policy lets the call ask for."""
    plan: RetryPlan | None = None
    choice: Attempt | None = None
    """The present attempt; what follows up to `signing_host` is made anew for each, and so are `aws` and `body`."""
    limits: WireLimits | None = None
    """Those of the present attempt; None: the general ones."""
    settled: bool = False
    """Whether the answer that comes was noted in the key's pool when it was asked for another attempt."""
    upstream: Upstream | None = None
    key: ProviderKey | None = None
    pool: KeyPool | None = None
    """None where the key is the client's own."""
    as_bearer: bool = False
    """Whether the client brought its key as `Authorization: Bearer`, so that it goes on in that form."""
    add_credential: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    """Headers that an extension sets."""
    signing_host: str = ""
    """The host of AWS whose region and service a signature is for."""
    original_target: bytes = field(default=b"", repr=False)
    """Path and query before any route changed them."""
    original_body: RequestBody = field(default=b"", repr=False)
    """The body before any route changed it, for as long as another attempt may be made of it."""
    client_credential: ClientCredential | None = field(default=None, repr=False)
    client_credential_fields: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    """Headers made for credentials that a client holds itself, as they came, where a call may go out with one."""
    reserved: Reservation | None = None
    """For the body, from before it is read until an answer comes."""
    is_withdrawn: bool = False
    """Whether an HTTP/2 client reset the stream before anything was decided: the call is not recorded."""
    usage_requested: bool = False
    tap: ResponseTap | None = None

    @property
    def token(self) -> TokenReference | None:
        """Return what is kept of the token that said which agent calls."""
        return self.proof.tokens[0] if self.proof.tokens else None

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What no response may show of the credential of this attempt."""
        if self.add_credential:
            found = list(secrets_of(self.add_credential))
        elif self.key:
            found = [self.key.secret.reveal().encode()]
        elif self.aws:
            token = self.aws.token.reveal().encode() if self.aws.token else b""
            found = [token, self.aws.secret.reveal().encode(), self.signature]
        else:
            return ()
        return tuple(secret for secret in found if len(secret) >= SHORTEST_SECRET)

    def release_body(self) -> None:
        """Keep the body no longer, as no other attempt will be made."""
        self.body = self.original_body = b""

    def release_body_unless_planned(self) -> None:
        if self.choice is None or self.choice.is_last:
            self.release_body()


def secrets_of(fields: tuple[tuple[bytes, bytes], ...]) -> set[bytes]:
    """Return the secrets in headers that an extension sets: of `Token abc` the longest word.

    Headers whose names are no credential's are looked at only where there is no other.
    """
    named = [value for name, value in fields if is_credential_header(name.decode("latin-1"))]
    words = (max(value.split(), key=len, default=b"") for value in named or (value for _, value in fields))
    found = set(words)
    return found if named else {max(found, key=len)}
