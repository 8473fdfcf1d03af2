"""One attempt at a call as a value: where it goes, what is sent, with whose credential, and the steps of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from wirekey.core.credentials.scrub import SHORTEST_SECRET
from wirekey.feature import NO_VALUES, FeatureValues
from wirekey.providers.credential_headers import is_credential_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy import http

    from wirekey.core.body import RequestBody
    from wirekey.core.call import Call
    from wirekey.core.calls.rewriting import ResponseChange, RewrittenRequest
    from wirekey.core.calls.settings import Settings
    from wirekey.core.credentials.pool import KeyPool, ProviderKey
    from wirekey.core.routing.candidate import Candidate, Upstream
    from wirekey.core.routing.plan import Attempt
    from wirekey.core.signing.request import SigV4Credentials
    from wirekey.core.wire.delegate import WireLimits

type Fields = list[tuple[bytes, bytes]]


class AttemptState(Struct, frozen=True):
    """One attempt. `prepare_attempt` replaces it whole, so nothing of a failed attempt survives into the next one.

    It holds a credential, so it is never stored, shown or logged. A Struct is copied with a change in a hundredth of
    the time that a frozen dataclass with these fields takes.
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


class OpenedCall(Protocol):
    """The state of a call that steps read."""

    call: Call
    workspace: str | None


class AttemptSteps:
    """The part of a feature with its steps in each attempt at one of its candidates. A step here changes nothing.

    `applies` is called once for each attempt. The attempt keeps the parts that apply, so others skip them all. A
    part has no state of its own: what it learns of an attempt is in `AttemptState.features`.
    """

    def applies(self, candidate: Candidate) -> bool:
        """Return whether attempts at a candidate take these steps. It must be quick."""
        raise NotImplementedError

    def begin(
        self, settings: Settings, state: OpenedCall, attempt: AttemptState, request: http.Request
    ) -> AttemptState:
        """Return an attempt before its model is set and its request is translated. Raises Refusal."""
        return attempt

    def makes_credential(self, settings: Settings, attempt: AttemptState) -> bool:
        """Return whether `with_credential` makes the credential. No other one is chosen then."""
        return False

    async def with_credential(self, settings: Settings, call: Call, attempt: AttemptState) -> AttemptState:
        """Return an attempt with its credential, after which nothing else changes it. Raises Refusal."""
        return attempt

    def wire_fields(self, attempt: AttemptState, fields: Fields) -> Fields:
        """Return the header fields of the request as it is sent, without its credential."""
        return fields

    def note_status(self, settings: Settings, attempt: AttemptState, status: int, wait: float | None) -> None:
        """Note the status of the response. `wait`: the seconds of Retry-After, or None."""

    def error_reader(self, attempt: AttemptState, status: int, wait: float | None) -> Callable[[bytes], None] | None:
        """Return what reads the body of an error that the client does not get, and then b"". None: nothing does."""
        return None

    def response_change(self, attempt: AttemptState, response: http.Response, limit: int) -> ResponseChange | None:
        """Return what changes the body of a response; None if nothing does.

        `limit`: bytes of a response that may be read as a whole.
        """
        return None


def secrets_of(fields: tuple[tuple[bytes, bytes], ...]) -> set[bytes]:
    """Return the secrets in headers that an extension made: of `Token abc` the longest word.

    Headers that are not known to hold a credential count only if there is no other.
    """
    named = [value for name, value in fields if is_credential_header(name.decode("latin-1"))]
    words = (max(value.split(), key=len, default=b"") for value in named or (value for _, value in fields))
    found = set(words)
    return found if named else {max(found, key=len)}
