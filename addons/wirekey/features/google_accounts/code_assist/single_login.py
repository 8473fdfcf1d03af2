"""The accounts of a backend that has one login: that of another program, or application default credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.google_accounts.accounts import AccountStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.core.credentials.google.tokens import TokenSource


class SingleLogin:
    """The one account of a backend. `BackendAccounts` describes the methods.

    Its project is kept in memory, as the login's file belongs to another program.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.invalid: str | None = None

    def usable(self) -> Sequence[str]:
        """Return the one account: its own error says why it cannot be used."""
        return (self._source.account_id,)

    def source(self, account_id: str) -> TokenSource:
        """Return the tokens."""
        return self._source

    def note_use(self, account_id: str) -> None:
        """Do nothing: the login belongs to a different program."""

    def keep_project(self, account_id: str, project_id: str) -> None:
        """Do nothing: the backend itself remembers it."""

    def mark_invalid(self, account_id: str, reason: str | None) -> None:
        """Remember why Google does not serve the account."""
        self.invalid = reason

    def note_limit(self, account_id: str, until: float, reason: str) -> None:
        """Do nothing: no command lists the account."""

    def statuses(self) -> Mapping[str, AccountStatus]:
        """Return whether Google serves the account."""
        return {self._source.account_id: AccountStatus.INVALID if self.invalid else AccountStatus.VALID}

    def reason_for_none(self) -> str:
        """Return nothing more: the one account is always there."""
        return ""
