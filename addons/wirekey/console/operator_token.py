"""The operator's token: who has it may see the page. In the state folder, its owner's alone.

`wirekey console` makes links from it that sign in once, so that the token itself need not go anywhere. The server
knows a link by its signature, and needs to be told of none.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from wirekey.errors import UserError
from wirekey.identity import private_file
from wirekey.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.identity.private_file import FileVersion

FILE = "console-token"
PREFIX = "wkc_"
LINK_LIFETIME = 300
"""Seconds within which a link signs in."""
MEANT_FOR = b"wirekey console link\n"


class OperatorTokenError(UserError):
    """The token cannot be read or written: names the file and the fix."""


def ensure(state: Path) -> Secret:
    """Give the token, made now where there is none. Raises OperatorTokenError."""
    return read(state) or rotate(state, only_if_absent=True)


def read(state: Path) -> Secret | None:
    """Give the token; None: there is none. Raises OperatorTokenError."""
    path = state / FILE
    try:
        text = private_file.read(path).decode("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OperatorTokenError(f"{path} cannot be read: {reason(error)}.") from error
    if not text.startswith(PREFIX) or len(text) < 40:
        raise OperatorTokenError(f"{path} holds no token. Make a new one: wirekey console --rotate.")
    return Secret(text)


def rotate(state: Path, *, only_if_absent: bool = False) -> Secret:
    """Put a new token in the place of the former, which ends all sessions. Raises OperatorTokenError."""
    path = state / FILE
    try:
        with private_file.exclusive(path):
            if only_if_absent and (there := read(state)):
                return there
            token = PREFIX + secrets.token_urlsafe(32)
            private_file.replace(path, f"{token}\n".encode())
    except OSError as error:
        raise OperatorTokenError(f"{path} cannot be written: {reason(error)}.") from error
    return Secret(token)


def reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "it is no text"


def link_code(token: Secret, now: float) -> str:
    """Give a code that signs in once, within LINK_LIFETIME. `now`: Unix seconds."""
    claim = f"{int(now) + LINK_LIFETIME}.{secrets.token_urlsafe(16)}"
    return f"{claim}.{signature(token, claim)}"


def verify_link_code(code: str, token: Secret, now: float) -> tuple[str, int] | None:
    """Give the claim of a good code, and when it ends; None where it is none, or too old."""
    claim, _, signed = code.rpartition(".")
    ends = claim.partition(".")[0]
    if not hmac.compare_digest(signed.encode(), signature(token, claim).encode()):
        return None
    return (claim, int(ends)) if now < int(ends) else None


def signature(token: Secret, claim: str) -> str:
    return hmac.new(token.reveal().encode(), MEANT_FOR + claim.encode(), hashlib.sha256).hexdigest()


class FollowedToken:
    """The token as the file has it now."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._signature: FileVersion = None
        self._token: Secret | None = None

    def current(self) -> Secret | None:
        """Give it; one `stat` where nothing changed. Raises OperatorTokenError."""
        try:
            found = private_file.file_version(self._state / FILE)
        except OSError as error:
            raise OperatorTokenError(f"{self._state / FILE} cannot be read: {reason(error)}.") from error
        if found != self._signature:
            self._token = read(self._state) if found else None
            self._signature = found
        return self._token
