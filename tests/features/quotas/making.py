"""Quotas with a clock that a test sets, and calls for them."""

from __future__ import annotations

from wirekey.core.shared_state import MemoryState
from wirekey.features.quotas.definition import NANODOLLARS, Applied, Quota
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import Use
from wirekey.features.quotas.hold import Hold

GIVEN = {
    "agent_id": "alice",
    "agent_role": "senior",
    "agent": {"id": "alice", "role": "senior", "permissions": ["web:read"]},
    "provider": "openai",
    "requested_model": "gpt-5-mini",
    "model": "gpt-5-mini",
    "stream": True,
    "has_tools": False,
    "tools": ["read_file", "delete_file"],
    "other_models": [],
    "max_tokens": 1000,
    "headers": {"user-agent": "curl/8.0"},
    "labels": {"team": "search"},
    "labels_unverified": {"session": "s1"},
}
START = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Enforced:
    """Quotas of one process, with all calls of one subject."""

    def __init__(self, *quotas: Quota, ledger=None) -> None:
        self.clock = Clock()
        self.quotas = quotas
        self.state = MemoryState(self.clock)
        self.service = QuotaEnforcer(lambda: self.state, ledger, self.clock, self.clock)
        self.made = 0

    def hold(self, tokens: int = 0, usd: float | None = 0.0, subject: str = "alice") -> Hold:
        """A call that has not been taken yet."""
        self.made += 1
        cost = None if usd is None else round(usd * NANODOLLARS)
        applied = tuple(Applied(quota, subject) for quota in self.quotas)
        return Hold(f"{self.made}/1", applied, "gpt-5-mini", Use(tokens, cost))

    def call(self, tokens: int = 0, usd: float | None = 0.0, subject: str = "alice") -> Hold:
        """A call that was allowed. Raises Refusal if it was not."""
        hold = self.hold(tokens, usd, subject)
        assert self.service.acquire(hold) is None
        hold.sent = True
        return hold

    def end(self, hold: Hold, tokens: int = 0, usd: float = 0.0) -> None:
        """The end of a call that used so much."""
        self.service.settle(hold, Use(tokens, round(usd * NANODOLLARS)))


def usd(amount: float) -> int:
    return round(amount * NANODOLLARS)
