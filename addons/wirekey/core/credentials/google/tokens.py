"""A usable token for Google's services, and the interface of its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from wirekey.core.secret import Secret


@dataclass(frozen=True, slots=True)
class UsableToken:
    """An access token that is not known to have ended. Send it in `Authorization: Bearer`, on the wire copy only.

    `project_id` None: not known yet. `quota_project`: the value of `x-goog-user-project`, if it must be sent.
    `expires`: Unix seconds; None if unknown.
    """

    access_token: Secret = field(repr=False)
    account_id: str
    project_id: str | None = None
    quota_project: str | None = None
    expires: float | None = None
    login: int = 0
    """The number of the login that it belongs to. A new login may be of another person, with another project."""


type NoTokenReason = Literal["no_account", "needs_login", "unavailable"]


class NoTokenError(UserError):
    """There is no usable token. The text says what to run, and is fit for the client's error message.

    `reason` no_account: there is no login. needs_login: a person must log in again. unavailable: the token server does
    not respond; a later attempt may succeed.
    """

    def __init__(self, reason: NoTokenReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TokenSource(Protocol):
    """The tokens of one account. All methods are for the event loop's thread."""

    @property
    def account_id(self) -> str:
        """The account's id, for the audit's `credential`."""

    async def token(self) -> UsableToken:
        """Return a token. Waits only if the previous one has ended, for the one refresh that all share.

        Raises NoTokenError.
        """

    def rejected(self, token: UsableToken) -> None:
        """Note that a service responded 401 to this token, so that `token` gets a new one.

        If the service rejects the next one too, the account cools down, and `token` raises NoTokenError.
        """
