"""The record of a Google account that is logged in here, or in another program."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.core.secret import Secret

ACCOUNT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class AccountStatus(StrEnum):
    """Whether an account can be used. An account that is cooling down needs no one."""

    VALID = "valid"
    EXPIRED = "expired"
    NEEDS_LOGIN = "needs login"
    COOLING_DOWN = "resting"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class GoogleAccount:
    """One Google login. Times are milliseconds since 1970. The tokens are left out of its `repr`.

    `expiry_date` None: the end of the access token is unknown. `project_set`: a person set the project id, so it is
    never looked up. `invalid`: Google's reason, for people, why it does not serve this account. `limited_by`: why it is
    not used until `limited_until`.
    """

    account_id: str
    email: str | None = None
    access_token: Secret | None = field(default=None, repr=False)
    refresh_token: Secret | None = field(default=None, repr=False)
    token_type: str = "Bearer"  # noqa: S105  # not a secret
    scope: str = ""
    expiry_date: int | None = None
    project_id: str | None = None
    project_set: bool = False
    created_at: int | None = None
    updated_at: int | None = None
    last_used: int | None = None
    needs_login: bool = False
    invalid: str | None = None
    limited_until: int | None = None
    limited_by: str | None = None

    def status(self, now: float) -> AccountStatus:
        """Return the status at `now` (Unix seconds), as far as the record shows it."""
        if self.invalid:
            return AccountStatus.INVALID
        if self.needs_login or not (self.refresh_token or self.access_token):
            return AccountStatus.NEEDS_LOGIN
        if self.limited_until is not None and self.limited_until > now * 1000:
            return AccountStatus.COOLING_DOWN
        has_ended = self.expiry_date is not None and self.expiry_date <= now * 1000
        return AccountStatus.EXPIRED if has_ended and self.refresh_token is None else AccountStatus.VALID


def is_account_id(text: str) -> bool:
    """Return whether a text can be the id of an account: at most 64 letters, digits, dots, hyphens, underscores."""
    return ACCOUNT_ID.fullmatch(text) is not None
