"""The interface of the accounts that log in to Wirekey, for the backends that use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from wirekey.core.credentials.google.tokens import UsableToken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.credentials.google.tokens import TokenSource
    from wirekey.features.google_accounts.accounts import GoogleAccount


class AccountTokens(Protocol):
    """The accounts that log in to Wirekey, each with its tokens. All methods are for the event loop's thread.

    The changes are also written to the account's file, in a thread.
    """

    def accounts(self) -> Sequence[GoogleAccount]:
        """Return the accounts, in the order of their ids."""

    def source(self, account_id: str) -> TokenSource:
        """Return the tokens of an account. Raises NoTokenError if there is no such account."""

    def note_use(self, account_id: str) -> None:
        """Note that the account is used now."""

    def keep_project(self, account_id: str, project_id: str) -> None:
        """Keep the project that was looked up for the account, unless a person has set one."""

    def mark_invalid(self, account_id: str, reason: str | None) -> None:
        """Note why Google does not serve the account, for people; None: it does."""

    def note_limit(self, account_id: str, until: float, reason: str) -> None:
        """Note that the account is limited until a time, in Unix seconds, and why; for people."""


type ProjectLookup = Callable[[UsableToken], Awaitable[str]]
"""Returns the project of an account, and makes one if it has none. `project_id` of the token is the project that a
person has set; then only that one is validated. Raises UserError with Google's reason, for people."""


def login_again(account_id: str) -> str:
    """Return what to run for another login of an account."""
    return f"Log in again: wirekey accounts update {account_id}"
