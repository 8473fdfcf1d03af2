"""The accounts of `gemini-oauth-auto`: those that logged in to Wirekey."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wirekey.features.google_accounts.accounts import AccountStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.core.credentials.google.tokens import TokenSource
    from wirekey.features.google_accounts.account_tokens import AccountTokens

UNUSABLE = (AccountStatus.NEEDS_LOGIN, AccountStatus.INVALID)


class SeveralLogins:
    """The accounts that log in to Wirekey, or the ones of them that are configured, in that order.

    `BackendAccounts` describes the methods.
    """

    def __init__(self, tokens: AccountTokens, chosen: Sequence[str] | None = None) -> None:
        """`chosen`: the ids of the accounts to use; None: all of them."""
        self._tokens = tokens
        self._chosen = chosen

    def usable(self) -> Sequence[str]:
        """Return the accounts that need no person before they are used."""
        now = time.time()
        found = [each.account_id for each in self._tokens.accounts() if each.status(now) not in UNUSABLE]
        return found if self._chosen is None else [each for each in self._chosen if each in found]

    def source(self, account_id: str) -> TokenSource:
        """Return the tokens of an account. Raises NoTokenError."""
        return self._tokens.source(account_id)

    def note_use(self, account_id: str) -> None:
        """Note the use in the account's file."""
        self._tokens.note_use(account_id)

    def keep_project(self, account_id: str, project_id: str) -> None:
        """Keep the project in the account's file."""
        self._tokens.keep_project(account_id, project_id)

    def mark_invalid(self, account_id: str, reason: str | None) -> None:
        """Note the reason in the account's file."""
        self._tokens.mark_invalid(account_id, reason)

    def note_limit(self, account_id: str, until: float, reason: str) -> None:
        """Note the limit in the account's file."""
        self._tokens.note_limit(account_id, until, reason)

    def statuses(self) -> Mapping[str, AccountStatus]:
        """Return the status of each account that is configured."""
        now = time.time()
        found = {each.account_id: each.status(now) for each in self._tokens.accounts()}
        return {name: found[name] for name in (found if self._chosen is None else self._chosen) if name in found}

    def reason_for_none(self) -> str:
        """Return what to run."""
        return "Add one with `wirekey accounts add`. `wirekey accounts list` shows the state of those that there are."
