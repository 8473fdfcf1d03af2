"""The operator token, which signs in to the page. It is in the state folder, readable by its owner only.

`wirekey console` derives links from it that sign in once, so that the token itself is not passed around. The server
recognises a link by its signature.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError
from wirekey.core.identity import private_file
from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.identity.private_file import FileVersion

FILE = "console-token"
PREFIX = "wkc_"
LINK_LIFETIME = 300
"""Seconds within which a link signs in."""
MEANT_FOR = b"wirekey console link\n"


class OperatorTokenError(UserError):
    """The token cannot be read or written. The message names the file and the fix."""


def ensure(state: Path) -> Secret:
    """Return the token, and create it if it does not exist. Raises OperatorTokenError."""
    return read(state) or rotate(state, only_if_absent=True)


def read(state: Path) -> Secret | None:
    """Return the token, or None if it does not exist. Raises OperatorTokenError."""
    path = state / FILE
    try:
        text = private_file.read(path).decode("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OperatorTokenError(f"{path} cannot be read: {reason(error)}.") from error
    if not text.startswith(PREFIX) or len(text) < 40:
        raise OperatorTokenError(f"{path} does not contain a token. Create a new one: {COMMAND} console --rotate.")
    return Secret(text)


def rotate(state: Path, *, only_if_absent: bool = False) -> Secret:
    """Replace the token with a new one, which ends all sessions. Raises OperatorTokenError."""
    path = state / FILE
    try:
        with private_file.exclusive(path):
            if only_if_absent and (existing := read(state)):
                return existing
            token = PREFIX + secrets.token_urlsafe(32)
            private_file.replace(path, f"{token}\n".encode())
    except OSError as error:
        raise OperatorTokenError(f"{path} cannot be written: {reason(error)}.") from error
    return Secret(token)


def reason(error: Exception) -> str:
    """Return why a file could not be read."""
    return getattr(error, "strerror", None) or "it is not text"


def link_code(token: Secret, now: float) -> str:
    """Return a code that signs in once, within LINK_LIFETIME. `now`: Unix seconds."""
    claim = f"{int(now) + LINK_LIFETIME}.{secrets.token_urlsafe(16)}"
    return f"{claim}.{signature(token, claim)}"


def verify_link_code(code: str, token: Secret, now: float) -> tuple[str, int] | None:
    """Return the claim of a valid code and its expiry in Unix seconds, or None if it is invalid or too old."""
    claim, _, signed = code.rpartition(".")
    ends = claim.partition(".")[0]
    if not hmac.compare_digest(signed.encode(), signature(token, claim).encode()):
        return None
    return (claim, int(ends)) if now < int(ends) else None


def signature(token: Secret, claim: str) -> str:
    """Return the signature of the claim of a link."""
    return hmac.new(token.reveal().encode(), MEANT_FOR + claim.encode(), hashlib.sha256).hexdigest()


class ReloadedToken:
    """The current token, reloaded when its file changes."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._signature: FileVersion = None
        self._token: Secret | None = None

    def current(self) -> Secret | None:
        """Return the token, or None. Costs one `stat` if the file did not change. Raises OperatorTokenError."""
        try:
            found = private_file.file_version(self._state / FILE)
        except OSError as error:
            raise OperatorTokenError(f"{self._state / FILE} cannot be read: {reason(error)}.") from error
        if found != self._signature:
            self._token = read(self._state) if found else None
            self._signature = found
        return self._token
