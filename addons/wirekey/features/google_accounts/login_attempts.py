"""Logins that have begun in a browser: their secrets, for ten minutes and one use, shared by all workers.

Each is a file that only its owner may read, because another worker may get the callback.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.identity import private_file
from wirekey.core.secret import Secret
from wirekey.features.google_accounts.account_files import AccountError
from wirekey.features.google_accounts.oauth import LoginSecrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIFETIME = 600.0
"""Seconds in which a login must end."""
MOST = 64
"""Logins in progress. Any program of the machine can begin one."""


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A login that has begun. `browser`: the value of the cookie that its browser has, or None if it has none."""

    login: LoginSecrets
    redirect_uri: str
    browser: Secret | None = field(repr=False)


class LoginAttempts:
    """The logins in progress. Methods block for a few file operations. `clock` returns Unix seconds."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock

    def begin(self, redirect_uri: str, *, in_browser: bool) -> LoginAttempt:
        """Begin a login. Raises AccountError if too many are in progress, or the folder cannot be written."""
        browser = Secret(secrets.token_urlsafe(32)) if in_browser else None
        attempt = LoginAttempt(LoginSecrets.new(), redirect_uri, browser)
        content = {
            "verifier": attempt.login.verifier.reveal(),
            "redirect_uri": redirect_uri,
            "browser": browser.reveal() if browser else None,
            "began": self._clock(),
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._count_current() >= MOST:
                raise AccountError(f"{MOST} logins are in progress. Wait for ten minutes.")
            private_file.replace(self._path(attempt.login.state.reveal()), json.dumps(content).encode())
        except OSError as error:
            raise AccountError(f"{self._folder} cannot be written: {error.strerror}.") from error
        return attempt

    def take(self, state: str) -> LoginAttempt | None:
        """Return the login of a state, once; None if the state is unknown, used or too old."""
        path = self._path(state)
        mine = path.with_suffix(f".{secrets.token_hex(8)}")
        try:
            path.rename(mine)  # only one of several processes succeeds
            content = json.loads(private_file.read(mine))
            mine.unlink()
            if not 0 <= self._clock() - content["began"] <= LIFETIME:
                return None
            browser = Secret(content["browser"]) if content["browser"] else None
            login = LoginSecrets(Secret(content["verifier"]), Secret(state))
            return LoginAttempt(login, content["redirect_uri"], browser)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, state: str) -> Path:
        return self._folder / f"{hashlib.sha256(state.encode('utf-8', 'replace')).hexdigest()}.login"

    def _count_current(self) -> int:
        """Return the number of logins in progress, after those that are too old were deleted."""
        count = 0
        for path in self._folder.iterdir():
            version = private_file.file_version(path)
            if version and self._clock() - version[0] / 1e9 > LIFETIME:
                path.unlink(missing_ok=True)
            else:
                count += 1
        return count
