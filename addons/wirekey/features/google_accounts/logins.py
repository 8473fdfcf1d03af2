"""The Google logins of one process: the sources of tokens that its configuration has, and a login that has ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wirekey.core.errors import UserError
from wirekey.features.google_accounts.account_files import AccountFiles, now_in_milliseconds
from wirekey.features.google_accounts.accounts import GoogleAccount
from wirekey.features.google_accounts.login_file import usable_token
from wirekey.features.google_accounts.token_server import GoogleSettings, email_of, exchange

if TYPE_CHECKING:
    from wirekey.core.credentials.google.default_credentials import DefaultCredentials
    from wirekey.core.secret import Secret
    from wirekey.features.google_accounts.account_tokens import ProjectLookup
    from wirekey.features.google_accounts.login_attempts import LoginAttempt, LoginAttempts
    from wirekey.features.google_accounts.login_file import LoginFileTokens
    from wirekey.features.google_accounts.oauth import IssuedTokens
    from wirekey.features.google_accounts.stored_accounts import StoredAccounts


@dataclass(slots=True)
class GoogleLogins:
    """The logins of one process. A part is None if its backend is not enabled."""

    settings: GoogleSettings | None = None
    accounts: StoredAccounts | None = None
    """`gemini-oauth-auto`"""
    attempts: LoginAttempts | None = None
    """The logins at `/auth/login`, for `gemini-oauth-auto`."""
    plan: LoginFileTokens | None = None
    """`gemini-oauth-plan`"""
    free: LoginFileTokens | None = None
    """`gemini-oauth-free`"""
    cloud_project: DefaultCredentials | None = None
    """`gemini-cli-cloud-project`"""
    lookup: ProjectLookup | None = None

    def check(self) -> None:
        """Read changed files, and replace tokens that end soon. Call it about once a second. Never raises."""
        for part in (self.accounts, self.plan, self.free):
            if part:
                part.check()
        if self.cloud_project:
            self.cloud_project.keep_good()

    async def end(self) -> None:
        """Write what is not written yet."""
        if self.accounts:
            await self.accounts.end()


@dataclass(frozen=True, slots=True)
class NewLogin:
    """The result of a login. `trouble`: why its project could not be looked up, for people."""

    account: GoogleAccount
    trouble: str | None = None


class OtherEmailError(UserError):
    """A login belongs to another person than the account that it is for."""


async def log_in(
    settings: GoogleSettings,
    attempt: LoginAttempt,
    code: Secret,
    lookup: ProjectLookup | None,
    before: GoogleAccount | None = None,
    *,
    allow_other_email: bool = False,
) -> NewLogin:
    """Exchange the code of a login, and return the account with its email and project. Nothing is stored.

    `before`: the account to log in again. A new account has the empty id. Raises OAuthError, and OtherEmailError.
    """
    issued = await asyncio.to_thread(exchange, settings, code, attempt.redirect_uri, attempt.login.verifier)
    email = await asyncio.to_thread(email_of, settings, issued.access_token)
    if before and before.email and email and email != before.email and not allow_other_email:
        raise OtherEmailError(
            f"The login is of {email}, but the account {before.account_id} is of {before.email}. Log in as that "
            "person, or use --force."
        )
    account = logged_in(before or GoogleAccount(""), issued, email)
    return await with_project(account, lookup)


def logged_in(before: GoogleAccount, issued: IssuedTokens, email: str | None) -> GoogleAccount:
    """Return an account after a login."""
    now = now_in_milliseconds()
    return replace(
        before,
        email=email or before.email,
        access_token=issued.access_token,
        refresh_token=issued.refresh_token,
        token_type=issued.token_type,
        scope=issued.scope,
        expiry_date=issued.expiry_date,
        created_at=before.created_at or now,
        updated_at=now,
        needs_login=False,
        invalid=None,
    )


async def with_project(account: GoogleAccount, lookup: ProjectLookup | None) -> NewLogin:
    """Return an account with its project looked up, or with the reason why that failed."""
    token = usable_token(account)
    if lookup is None or token is None:
        return NewLogin(account)
    try:
        return NewLogin(replace(account, project_id=await lookup(token)))
    except UserError as error:
        return NewLogin(account, str(error))


def store(files: AccountFiles, account: GoogleAccount) -> GoogleAccount:
    """Store an account after a login, and return it. Without an id it replaces the one of its email, or gets a new id.

    Blocks. Raises AccountError.
    """
    if not account.account_id:
        known = next((one for one in files.all()[0] if one.email and one.email == account.email), None)
        if known:
            account = replace(
                account,
                account_id=known.account_id,
                created_at=known.created_at,
                project_id=known.project_id if known.project_set else account.project_id,
                project_set=known.project_set,
            )
        else:
            account = replace(account, account_id=files.free_id(account.email))
    with files.locked(account.account_id):
        files.write(account)
    return account
