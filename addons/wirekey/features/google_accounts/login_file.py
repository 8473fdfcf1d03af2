"""The login file of another program: found, watched, and refreshed in memory. The file itself is never written."""

from __future__ import annotations

import logging
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.credentials.google.token_cache import TokenCache
from wirekey.core.credentials.google.tokens import NoTokenError, UsableToken
from wirekey.core.errors import UserError
from wirekey.core.identity.private_file import file_version
from wirekey.features.google_accounts.account_json import AccountFormatError, decode_account
from wirekey.features.google_accounts.oauth import UNAVAILABLE, OAuthError
from wirekey.features.google_accounts.token_server import refresh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.core.identity.private_file import FileVersion
    from wirekey.features.google_accounts.accounts import GoogleAccount
    from wirekey.features.google_accounts.token_server import GoogleSettings

logger = logging.getLogger(__name__)

ACCOUNT_ID = "login-file"
FILE_NAME = "oauth_creds.json"
USUAL_PLACES = (".gemini", ".config/gemini-cli")
LARGEST_FILE = 64 * 1024
BUFFER = 120.0
"""Seconds before its end at which a token is replaced."""
COMMAND_LIMIT = 30.0
"""Seconds that the refresh command may take, and at least between two of its runs."""


class LoginFileError(UserError):
    """A login file cannot be used. The text says which file, why, and what to do."""


def find_login_file(setting: Path | None, home: Path) -> Path:
    """Return the login file of a setting, which may name its folder, or the first usual place that has one."""
    if setting is not None:
        return setting / FILE_NAME if setting.is_dir() else setting
    places = [home / place / FILE_NAME for place in USUAL_PLACES]
    return next((place for place in places if place.exists()), places[0])


def read_login_file(path: Path) -> GoogleAccount:
    """Return the login in a file. Raises LoginFileError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise LoginFileError(f"{path} does not exist. Log in with the program that makes it, such as gemini.") from None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}. Make it readable for the user that runs Wirekey."
        raise LoginFileError(message) from None
    if len(data) > LARGEST_FILE:
        raise LoginFileError(f"{path} is larger than 64 KiB, so it is not a login. Correct login_file.")
    try:
        return decode_account(data, ACCOUNT_ID)
    except AccountFormatError as error:
        raise LoginFileError(f"{path} {error} with the program that makes it.") from None


class LoginFileTokens:
    """The tokens of a login file: a TokenSource. All methods are for the event loop's thread.

    With an OAuth client, Wirekey refreshes the token in memory. Else it runs `refresh_command`, if there is one, and
    reads the file again.
    """

    def __init__(
        self,
        path: Path,
        settings: GoogleSettings,
        refresh_command: tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._settings, self._command, self._clock = settings, refresh_command, clock
        again = f"Log in again with the program that made {path}."
        self._cache = TokenCache(ACCOUNT_ID, self._renew, buffer=BUFFER, clock=clock, login=again)
        self._version: FileVersion = None
        self._in_file: GoogleAccount | None = None
        self._account: GoogleAccount | None = None
        self._ran_at = -COMMAND_LIMIT
        self._login = 0

    @property
    def account_id(self) -> str:
        """The id of the only account."""
        return ACCOUNT_ID

    @property
    def account(self) -> GoogleAccount | None:
        """The login as the file has it, or None if there is no usable file."""
        return self._account

    def is_of(self, path: Path, settings: GoogleSettings, refresh_command: tuple[str, ...]) -> bool:
        """Return whether these are the tokens of a file, refreshed in this way."""
        return (self.path, self._settings, self._command) == (path, settings, refresh_command)

    def load(self) -> None:
        """Read the file for the first time. Raises LoginFileError; then `check` tries again when it changes."""
        self._version = self._file_version()
        try:
            self._use(read_login_file(self.path))
        except LoginFileError as error:
            self._cache.end(NoTokenError("no_account", str(error)))
            raise

    def check(self) -> None:
        """Read a changed file, and replace a token that ends soon. Call it about once a second. Never raises."""
        version = self._file_version()
        if version != self._version:
            self._version = version
            self._read_changed()
        if self._cache.current:
            self._cache.keep_good()

    async def token(self) -> UsableToken:
        """Return a token. Raises NoTokenError."""
        return await self._cache.token()

    def rejected(self, token: UsableToken) -> None:
        """Note that a service responded 401 to this token."""
        self._cache.rejected(token)

    def _file_version(self) -> FileVersion:
        try:
            return file_version(self.path)
        except OSError:
            return None

    def _read_changed(self) -> None:
        try:
            self._use(read_login_file(self.path))
        except LoginFileError as error:
            if self._account is None:
                self._cache.end(NoTokenError("no_account", str(error)))
            logger.warning("%s%s", error, " The previous login stays in use." if self._account else "")

    def _use(self, account: GoogleAccount) -> None:
        before, self._in_file = self._in_file, account
        if before and (before.access_token, before.refresh_token) == (account.access_token, account.refresh_token):
            return  # the tokens in memory may be newer
        if before and before.refresh_token != account.refresh_token:
            self._login += 1
        self._account = account
        self._cache.replace(self._usable(account))

    def _usable(self, account: GoogleAccount) -> UsableToken | None:
        token = usable_token(account)
        return replace(token, login=self._login) if token else None

    def _renew(self, before: UsableToken | None) -> UsableToken:
        account = self._account
        if account and account.refresh_token and self._settings.client:
            return self._refreshed(account)
        if self._command:
            return self._by_command(before)
        raise NoTokenError(
            "needs_login",
            f"The login of {self.path} has ended. Use the program that made it, which refreshes it, or set "
            "google.oauth_client.",
        )

    def _refreshed(self, account: GoogleAccount) -> UsableToken:
        assert account.refresh_token
        try:
            issued = refresh(self._settings, account.refresh_token)
        except OAuthError as error:
            if error.code == UNAVAILABLE:
                raise NoTokenError("unavailable", str(error)) from None
            message = f"Google does not accept the login of {self.path} ({error.code}). Log in again with the program "
            raise NoTokenError("needs_login", message + "that made it.") from None
        renewed = replace(
            account,
            access_token=issued.access_token,
            refresh_token=issued.refresh_token or account.refresh_token,
            expiry_date=issued.expiry_date,
        )
        if self._account is account:
            self._account = renewed
        token = self._usable(renewed)
        assert token
        return token

    def _by_command(self, before: UsableToken | None) -> UsableToken:
        """Run the other program's own refresh, and return the token that it has written. Blocks."""
        now = time.monotonic()
        failed = NoTokenError("unavailable", f"The refresh command did not renew the login of {self.path}.")
        if now - self._ran_at < COMMAND_LIMIT:
            raise failed
        self._ran_at = now
        try:
            subprocess.run(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=COMMAND_LIMIT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoTokenError("unavailable", f"The refresh command failed ({type(error).__name__}).") from None
        try:
            token = self._usable(read_login_file(self.path))
        except LoginFileError as error:
            raise NoTokenError("unavailable", str(error)) from None
        if token is None or (before and token.access_token == before.access_token):
            raise failed
        return token


def usable_token(account: GoogleAccount) -> UsableToken | None:
    """Return the token of an account, which may have ended, or None without an access token."""
    if account.access_token is None:
        return None
    expires = None if account.expiry_date is None else account.expiry_date / 1000
    return UsableToken(account.access_token, account.account_id, account.project_id, expires=expires)
