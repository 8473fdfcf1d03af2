"""Accounts as JSON: Wirekey's own files, the login files of other programs, and token files of one account. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from wirekey.core.secret import Secret
from wirekey.features.google_accounts.accounts import GoogleAccount

SECRETS = ("access_token", "refresh_token")
TIMES = ("expiry_date", "created_at", "updated_at", "last_used", "limited_until")
TEXTS = ("email", "project_id", "invalid", "limited_by")
OTHER_NAMES = {
    "access_token": ("accessToken", "token"),
    "refresh_token": ("refreshToken",),
    "expiry_date": ("expiryDate", "expires_at", "expiresAt", "expiry"),
    "project_id": ("projectId", "project"),
}
"""Names of earlier token files. The names of Google's own programs come first."""
MILLISECONDS_FROM = 100_000_000_000
"""Smaller times are seconds: this many milliseconds are in 1973, this many seconds in 5138."""


class AccountFormatError(ValueError):
    """A file is not a login. The text continues a sentence that begins with its name, and does not quote the file."""


def encode_account(account: GoogleAccount) -> bytes:
    """Return the content of an account's file."""
    content = {}
    for one in fields(account):
        value = getattr(account, one.name)
        content[one.name] = value.reveal() if isinstance(value, Secret) else value
    return json.dumps(content, indent=2).encode() + b"\n"


def decode_account(data: bytes, account_id: str) -> GoogleAccount:
    """Return the account in a file: Wirekey's own, a login file, or a token file. Raises AccountFormatError."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise AccountFormatError("is not JSON. It may be half-written; else log in again") from None
    if not isinstance(content, dict):
        raise AccountFormatError("is not a login: it has no JSON object")
    if content.get("type") not in (None, "authorized_user"):
        raise AccountFormatError("is not the login of a person, but another kind of Google credentials")
    given: dict[str, Any] = {"account_id": account_id}
    for name in (*SECRETS, *TIMES, *TEXTS, "scope", "token_type", "needs_login", "project_set"):
        value = next((content[one] for one in (name, *OTHER_NAMES.get(name, ())) if content.get(one) is not None), None)
        if value is not None and (read := _read(name, value)) is not None:
            given[name] = read
    if not ("access_token" in given or "refresh_token" in given):
        raise AccountFormatError("has neither an access_token nor a refresh_token. Log in again")
    given.setdefault("email", _email_in(content.get("id_token")))
    return GoogleAccount(**given)


def _read(name: str, value: Any) -> Any:
    """Return the value of a member, or None if it is empty. Raises AccountFormatError if its type is wrong."""
    if name in TIMES:
        return _milliseconds(name, value)
    if name in ("needs_login", "project_set"):
        return value is True
    if not isinstance(value, str):
        raise AccountFormatError(f"has a {name} that is not a string")
    if name not in SECRETS:
        return value if value and value.isprintable() else None
    try:
        return Secret(value) if value else None
    except ValueError:
        raise AccountFormatError(f"has a {name} with characters that no token has") from None


def _milliseconds(name: str, value: Any) -> int | None:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise AccountFormatError(f"has a {name} that is not a time") from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MILLISECONDS_FROM * 1000:
        raise AccountFormatError(f"has a {name} that is not a number of milliseconds")
    return int(value if value >= MILLISECONDS_FROM else value * 1000)


def _email_in(id_token: Any) -> str | None:
    """Return the email in the claims of an ID token. It is shown to people only, so the signature does not matter."""
    try:
        payload = id_token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        email = claims.get("email")
    except (AttributeError, IndexError, ValueError, RecursionError):
        return None
    return email if isinstance(email, str) and "@" in email and email.isprintable() else None
