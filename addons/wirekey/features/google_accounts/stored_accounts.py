"""The accounts that log in to Wirekey, with a good token for each: read from the folder, watched, and refreshed."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.credentials.google.token_cache import MARGIN, TokenCache
from wirekey.core.credentials.google.tokens import NoTokenError, UsableToken
from wirekey.core.tracebacks import safe_traceback
from wirekey.features.google_accounts.account_files import AccountError, AccountFiles, now_in_milliseconds
from wirekey.features.google_accounts.account_tokens import login_again
from wirekey.features.google_accounts.login_file import usable_token
from wirekey.features.google_accounts.oauth import UNAVAILABLE, OAuthError
from wirekey.features.google_accounts.token_server import refresh

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wirekey.core.identity.private_file import FileVersion
    from wirekey.features.google_accounts.accounts import GoogleAccount
    from wirekey.features.google_accounts.token_server import GoogleSettings

logger = logging.getLogger(__name__)

WRITE_USE_AFTER = 30.0
"""Seconds between two writes of the time at which an account was last used."""


class StoredAccounts:
    """The accounts of `gemini-oauth-auto`: an AccountTokens. All methods are for the event loop's thread.

    Several processes may share the folder. They refresh a token under a lock, so one of them does it for all.
    """

    def __init__(
        self, files: AccountFiles, settings: GoogleSettings, buffer: float, clock: Callable[[], float] = time.time
    ) -> None:
        """`buffer`: seconds before its end at which a token is replaced."""
        self.files, self.settings = files, settings
        self._buffer, self._clock = buffer, clock
        self._versions: dict[str, FileVersion] = {}
        self._accounts: dict[str, GoogleAccount] = {}
        self._caches: dict[str, TokenCache] = {}
        self._used: dict[str, int] = {}
        self._use_written = 0.0
        self._writes: set[asyncio.Task[None]] = set()

    def is_of(self, files: AccountFiles, buffer: float) -> bool:
        """Return whether these are the accounts of a folder, with this buffer."""
        return (self.files.folder, self._buffer) == (files.folder, buffer)

    # For the callers of Google's services.

    def accounts(self) -> Sequence[GoogleAccount]:
        """Return the accounts, in the order of their ids."""
        return [
            replace(account, last_used=max(account.last_used or 0, self._used.get(account_id, 0)) or None)
            for account_id, account in sorted(self._accounts.items())
        ]

    def source(self, account_id: str) -> TokenCache:
        """Return the tokens of an account. Raises NoTokenError if there is no such account."""
        cache = self._caches.get(account_id)
        if cache is None:
            raise NoTokenError("no_account", "There is no such Google account. Log in: wirekey accounts add")
        return cache

    def note_use(self, account_id: str) -> None:
        """Note that the account is used now. Written to its file later."""
        self._used[account_id] = int(self._clock() * 1000)

    def keep_project(self, account_id: str, project_id: str) -> None:
        """Keep the project that was looked up, unless a person has set one."""
        self._change(account_id, lambda old: old if old.project_set else replace(old, project_id=project_id))

    def mark_invalid(self, account_id: str, reason: str | None) -> None:
        """Note why Google does not serve the account; None: it does."""
        self._change(account_id, lambda old: replace(old, invalid=reason))

    def note_limit(self, account_id: str, until: float, reason: str) -> None:
        """Note that the account is limited until a time, and why. The latest time of all models is kept."""
        limited_until = int(until * 1000)

        def change(old: GoogleAccount) -> GoogleAccount:
            is_later = limited_until > (old.limited_until or 0)
            return replace(old, limited_until=limited_until, limited_by=reason) if is_later else old

        self._change(account_id, change)

    # For the process.

    def check(self) -> None:
        """Read changed files, and replace tokens that end soon. Call it about once a second. Never raises."""
        try:
            versions = self.files.versions()
        except OSError as error:
            logger.warning("%s cannot be read: %s. The accounts stay as they are.", self.files.folder, error.strerror)
            return
        if versions != self._versions:
            changed = [one for one, version in versions.items() if version != self._versions.get(one)]
            self._versions = versions
            for account_id in self._accounts.keys() - versions.keys():
                self._forget(account_id)
            for account_id in changed:
                self._read(account_id)
        for cache in self._caches.values():
            if cache.current:
                cache.keep_good()
        if self._used and self._clock() - self._use_written >= WRITE_USE_AFTER:
            self._write_use()

    async def end(self) -> None:
        """Write what is not written yet."""
        self._write_use()
        if self._writes:
            await asyncio.wait(self._writes, timeout=WRITE_USE_AFTER)

    def _read(self, account_id: str) -> None:
        try:
            account = self.files.find(account_id)
        except AccountError as error:
            logger.warning("%s%s", error, " The previous login stays in use." if account_id in self._accounts else "")
            return
        if account is None:
            self._forget(account_id)
            return
        before = self._accounts.get(account_id)
        self._accounts[account_id] = account
        cache = self._caches.get(account_id)
        if cache is None:
            cache = self._caches[account_id] = TokenCache(
                account_id,
                lambda token: self._renew(account_id, token),
                buffer=self._buffer,
                clock=self._clock,
                login=login_again(account_id),
            )
        if account.needs_login:
            cache.end(ended(account_id))
        elif not cache.has(account.access_token) and (before is None or has_other_tokens(before, account)):
            cache.replace(usable_token(account))
        else:
            cache.keep_with_project(account.project_id)

    def _forget(self, account_id: str) -> None:
        self._accounts.pop(account_id, None)
        self._used.pop(account_id, None)
        if cache := self._caches.pop(account_id, None):
            cache.end(NoTokenError("no_account", f"The Google account {account_id} was removed."))

    def _renew(self, account_id: str, before: UsableToken | None) -> UsableToken:
        """Return another token of an account. Blocks. Raises NoTokenError."""
        try:
            with self.files.locked(account_id):
                account = self.files.find(account_id)
                if account is None:
                    raise NoTokenError("no_account", f"The Google account {account_id} was removed.")
                token = usable_token(account)
                if token and self._is_newer(token, before):
                    return token  # another process has refreshed it
                return self._refreshed(account)
        except AccountError as error:
            raise NoTokenError("unavailable", str(error)) from None

    def _is_newer(self, token: UsableToken, before: UsableToken | None) -> bool:
        is_good = token.expires is None or token.expires - MARGIN > self._clock()
        return is_good and (before is None or token.access_token != before.access_token)

    def _refreshed(self, account: GoogleAccount) -> UsableToken:
        if account.needs_login or account.refresh_token is None:
            raise ended(account.account_id)
        try:
            issued = refresh(self.settings, account.refresh_token)
        except OAuthError as error:
            if error.code == "invalid_grant":
                self.files.write(replace(account, needs_login=True, updated_at=now_in_milliseconds()))
                raise ended(account.account_id) from None
            reason = f"The token of {account.account_id} could not be refreshed: {error}"
            raise NoTokenError("unavailable" if error.code == UNAVAILABLE else "needs_login", reason) from None
        renewed = replace(
            account,
            access_token=issued.access_token,
            refresh_token=issued.refresh_token or account.refresh_token,
            expiry_date=issued.expiry_date,
            scope=issued.scope or account.scope,
            updated_at=now_in_milliseconds(),
        )
        self.files.write(renewed)
        token = usable_token(renewed)
        assert token
        return token

    def _write_use(self) -> None:
        self._use_written = self._clock()
        used, self._used = self._used, {}
        for account_id, moment in used.items():
            if account := self._accounts.get(account_id):
                self._accounts[account_id] = replace(account, last_used=moment)
                self._change(account_id, lambda old, moment=moment: replace(old, last_used=moment))  # type: ignore[misc]

    def _change(self, account_id: str, change: Callable[[GoogleAccount], GoogleAccount]) -> None:
        """Change an account here, and in its file in a thread."""
        account = self._accounts.get(account_id)
        if account is None:
            return
        self._accounts[account_id] = change(account)
        if cache := self._caches.get(account_id):
            cache.keep_with_project(self._accounts[account_id].project_id)

        async def write() -> None:
            try:
                await asyncio.to_thread(self.files.change, account_id, change)
            except Exception as error:
                logger.warning("The account %s could not be written: %s", account_id, safe_traceback(error))

        task = asyncio.create_task(write())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


def ended(account_id: str) -> NoTokenError:
    """Return the error of an account whose login has ended."""
    message = f"The login of the Google account {account_id} has ended. {login_again(account_id)}"
    return NoTokenError("needs_login", message)


def has_other_tokens(before: GoogleAccount, after: GoogleAccount) -> bool:
    """Return whether a file has other tokens than before, or a login that had ended is good again."""
    tokens_before = before.access_token, before.refresh_token
    return before.needs_login or tokens_before != (after.access_token, after.refresh_token)
