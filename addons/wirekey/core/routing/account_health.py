"""The health of the accounts of a backend, for metrics, the console and readiness."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AccountState(StrEnum):
    """Whether calls can use an account now."""

    USABLE = "usable"
    LIMITED = "limited"
    NEEDS_LOGIN = "needs_login"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """The state of one account. `label`: `BACKEND/ACCOUNT`. `limited_for`: seconds until it is limited for no model."""

    label: str
    state: AccountState
    limited_for: float = 0.0
