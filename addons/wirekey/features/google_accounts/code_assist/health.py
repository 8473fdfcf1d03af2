"""The health of the accounts of a backend, for metrics, the console and readiness."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wirekey.core.routing.account_health import AccountHealth, AccountState
from wirekey.features.google_accounts.accounts import AccountStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wirekey.features.google_accounts.code_assist.pool import AccountPool


WORDS = {
    AccountState.LIMITED: ("is limited by Google", "are limited by Google"),
    AccountState.NEEDS_LOGIN: ("needs a login", "need a login"),
    AccountState.INVALID: ("is not served by Google", "are not served by Google"),
}
_STATES = {
    AccountStatus.EXPIRED: AccountState.NEEDS_LOGIN,
    AccountStatus.NEEDS_LOGIN: AccountState.NEEDS_LOGIN,
    AccountStatus.INVALID: AccountState.INVALID,
}


def health_of(
    name: str, statuses: Mapping[str, AccountStatus], pools: Iterable[AccountPool], now: float
) -> list[AccountHealth]:
    """Return the health of each account of a backend. `now`: a time of the monotonic clock.

    An account that is limited for one model is limited, although it may still be used for other models.
    """
    seconds: dict[str, float] = {}
    for pool in pools:
        for key in pool.keys:
            seconds[key.label] = max(seconds.get(key.label, 0.0), key.cooling_until - now)
    found = []
    for account_id, status in statuses.items():
        label = f"{name}/{account_id}"
        left = max(0.0, seconds.get(label, 0.0))
        usual = AccountState.LIMITED if left else AccountState.USABLE
        found.append(AccountHealth(label, _STATES.get(status, usual), left))
    return found


def trouble(accounts: Sequence[AccountHealth]) -> str | None:
    """Return why no account can be used, in words without names; None if one can."""
    if any(each.state is AccountState.USABLE for each in accounts):
        return None
    states = Counter(each.state for each in accounts)
    reasons = [f"{states[state]} {words[states[state] > 1]}" for state, words in WORDS.items() if states[state]]
    return f"none of its accounts can be used: {', '.join(reasons)}" if reasons else "it has no account"
