"""One attempt at a call as a value: where it goes, what is sent, and with whose credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from wirekey.core.credentials.scrub import SHORTEST_SECRET
from wirekey.feature import NO_VALUES, FeatureValues
from wirekey.providers.credential_headers import is_credential_header

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.calls.attempt_parts import AttemptSteps
    from wirekey.core.calls.attempt_rewrite import RewrittenRequest
    from wirekey.core.credentials.pool import KeyPool, ProviderKey
    from wirekey.core.routing.candidate import Upstream
    from wirekey.core.routing.plan import Attempt
    from wirekey.core.signing.request import SigV4Credentials
    from wirekey.core.wire.delegate import WireLimits


class AttemptState(Struct, frozen=True):
    """One attempt. `prepare_attempt` replaces it whole, so nothing of a failed attempt survives into the next one.

    It holds a credential, so it is never stored, shown or logged. A Struct is copied with a change in a hundredth of
    the time that a frozen dataclass with so many fields takes.
    """

    planned: Attempt
    upstream: Upstream
    limits: WireLimits | None = None
    """The limits of this attempt; None if the route sets none."""
    model: str | None = None
    """The model that is sent."""
    target: bytes = b""
    """Path and query as they are sent."""
    body: RequestBody = b""
    rewritten: RewrittenRequest | None = None
    """The request in the format of the upstream, if that is not the client's."""
    usage_requested: bool = False
    """Whether Wirekey, and not the client, asked for the token counts of a stream."""
    credential: str | None = None
    """Label of the credential: openai/1."""
    key: ProviderKey | None = None
    pool: KeyPool | None = None
    """The pool of the key; None for a key that the client supplied."""
    as_bearer: bool = False
    """Whether the key is sent as `Authorization: Bearer`, because the client supplied it so."""
    aws: SigV4Credentials | None = None
    """The credentials that sign the request."""
    location: str | None = None
    """The location of Google Cloud that a request of another provider is sent to."""
    signing_host: str = ""
    """The AWS host that names the region and service of the signature."""
    signature: bytes = b""
    """The AWS signature that the request went out with."""
    added_headers: tuple[tuple[bytes, bytes], ...] = ()
    """The headers of a credential that an extension made, or of an account's token."""
    steps: tuple[AttemptSteps, ...] = ()
    """The steps of features that apply to the attempt."""
    features: FeatureValues = NO_VALUES
    """The values that features add to the attempt."""

    def __repr__(self) -> str:
        return f"AttemptState(route={self.route!r}, model={self.model!r}, credential={self.credential!r})"

    @property
    def route(self) -> str | None:
        """Label of the route, such as `routes[2]`."""
        return self.planned.candidate.route

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The secrets of the credential, which no response may quote."""
        if self.added_headers:
            found = list(secrets_of(self.added_headers))
        elif self.key:
            found = [self.key.secret.reveal().encode()]
        elif self.aws:
            token = self.aws.token.reveal().encode() if self.aws.token else b""
            found = [token, self.aws.secret.reveal().encode(), self.signature]
        else:
            return ()
        return tuple(secret for secret in found if len(secret) >= SHORTEST_SECRET)


def secrets_of(fields: tuple[tuple[bytes, bytes], ...]) -> set[bytes]:
    """Return the secrets in headers that an extension made: of `Token abc` the longest word.

    Headers that are not known to hold a credential count only if there is no other.
    """
    named = [value for name, value in fields if is_credential_header(name.decode("latin-1"))]
    words = (max(value.split(), key=len, default=b"") for value in named or (value for _, value in fields))
    found = set(words)
    return found if named else {max(found, key=len)}
