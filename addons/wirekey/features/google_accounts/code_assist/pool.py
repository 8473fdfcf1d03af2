"""The accounts of a backend as keys: which one to use next, and which ones cool down for a model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.credentials.pool import KeyPool, ProviderKey, is_among
from wirekey.features.google_accounts.code_assist.limits import DAY

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wirekey.core.secret import Secret
    from wirekey.features.google_accounts.code_assist.limits import CoolDown


@dataclass(slots=True)
class AccountPool(KeyPool):
    """The accounts for one model. An account that cools down is never used, unlike other keys.

    Several pools share their sessions, so a session keeps its account when it changes its model.
    """

    model: str = ""
    is_learned: bool = False
    """Whether other processes were asked which accounts are limited."""

    def use(self, labels: Sequence[str], secret: Secret) -> None:
        """Set the accounts, in their order. Accounts that stay keep their cool-downs."""
        if [key.label for key in self.keys] == list(labels):
            return
        known = {key.label: key for key in self.keys}
        self.keys = [known.get(label) or ProviderKey(label, secret) for label in labels]

    def session_key(self, session: str | None, now: float, tried: Collection[ProviderKey]) -> ProviderKey | None:
        """Return the account that the session used before if it does not cool down and is untried, or None."""
        if session is None or self.selection != "session-affinity":
            return None
        kept = self.sessions.find(session, now)
        own = next((key for key in self.keys if kept and key.label == kept.label), None)
        return None if own is None or own.cooling_until > now or is_among(own, tried) else own

    def soonest_available(self, tried: Collection[ProviderKey]) -> ProviderKey | None:
        """Return None: an account that cools down would only be limited again."""
        return None

    def start_cool_down(self, key: ProviderKey, cool_down: CoolDown, now: float) -> None:
        """Set until when an account cools down. Each cool-down in a row counts."""
        key.cooling_until = now + cool_down.after(key.refusals)
        key.refusals += 1

    def correct_cool_down(self, key: ProviderKey, cool_down: CoolDown, now: float) -> None:
        """Replace the last cool-down of an account, now that its error is known as a whole."""
        key.cooling_until = now + cool_down.after(max(0, key.refusals - 1))

    def shortest_wait(self, now: float) -> float | None:
        """Return the seconds until the first account can be used, 0 if one can be now. None: there is no account."""
        return min((min(DAY, max(0.0, key.cooling_until - now)) for key in self.keys), default=None)

    def shortest_wait_now(self) -> float | None:
        """Return `shortest_wait` at the present."""
        return self.shortest_wait(time.monotonic())
