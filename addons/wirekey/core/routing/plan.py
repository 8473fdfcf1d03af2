"""Plans the attempts of one call: their order, and when to give up. Pure; times are seconds of one monotonic clock.

The keys of a candidate come one after the other, then the next candidate. The next attempt depends on how the last one
failed. No key is tried twice at the same candidate, unless the provider said when to retry, that is soon, and nothing
else is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.call import FailureKind
from wirekey.core.operation import Kind
from wirekey.core.routing.candidate import Failover

if TYPE_CHECKING:
    from wirekey.core.credentials.pool import ProviderKey
    from wirekey.core.operation import Operation
    from wirekey.core.routing.candidate import Candidate

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504, 529})
LIMITED = frozenset({429, 499, 503})
"""Statuses by which Google limits an account."""
REFUSED_KEY = frozenset({401, 403})
"""Another key of the pool may do better; another model would only hide that a key is bad."""
OVERLOADED = frozenset({503, 529})
"""The upstream itself asks for a pause, whatever the key."""

_STARTS_WORK = frozenset({"predictLongRunning", "videos.create", "videos.edits", "videos.extensions", "videos.remix"})
"""Inference that continues after its response: sent twice, it would run and cost twice."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed. `retry_after`: seconds from that header, None if it has none that can be read."""

    kind: FailureKind
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: what to do, with which key (None: the candidate needs none, or has none), after how many seconds.

    `is_last`: whatever becomes of it, there is no other one, so that the body need not be kept.
    """

    candidate: Candidate
    key: ProviderKey | None
    wait: float = 0.0
    is_last: bool = False


@dataclass(slots=True, eq=False)
class RetryPlan:
    """The plan of one call. `start` gives the first attempt; `after` the next one, or None.

    Note a failure in the key's pool before asking `after`, which then skips keys that are cooling down.
    """

    candidates: tuple[Candidate, ...]
    failover: Failover = field(default_factory=Failover)
    session: str | None = None
    """The session that keeps to one key, if the pool selects by session."""
    made: int = 0
    began: float = 0.0
    place: int = 0
    tried: list[ProviderKey] = field(default_factory=list)
    """Keys that were tried at the present candidate."""
    came_back: bool = False
    has_new_token: bool = False
    """Whether an account was tried again with another token."""
    choice: Attempt | None = None

    def start(self, now: float) -> Attempt:
        """Return the first attempt. Its key is None if the candidate has none, or if all its accounts cool down."""
        self.began, self.made = now, 1
        key = self._key_at(0, now)
        if key is None and self._is_cooling_down(0):
            place = self._next_place(now, limited=True)
            if place is not None:
                self.place, key = place, self._key_at(place, now)
        return self._choose(key, 0.0, now)

    def after(self, failure: Failure, now: float) -> Attempt | None:
        """Return the attempt after one that failed, or None if the call fails with it."""
        assert self.choice
        if not self._may_continue(failure, now):
            return None
        if failure.status == 401 and self._may_renew():
            self.made += 1
            self.has_new_token = True
            return self._choose(self.choice.key, 0.0, now)
        wait = self._pause(failure, now)
        refused = failure.status in REFUSED_KEY
        place = None if refused else self._next_place(now, limited=failure.status in LIMITED)
        if place is None or not self._is_unreachable(failure, place):
            key = self._other_key(now, available=place is not None)
            if key:
                self.made += 1
                return self._choose(key, wait if failure.status in OVERLOADED else 0.0, now)
        if place is not None:
            self.made += 1
            self.place, self.tried = place, []
            return self._choose(self._key_at(place, now), 0.0, now)
        if wait and not refused and not self.came_back:
            self.made += 1
            self.came_back = True
            return self._choose(self.choice.key, wait, now)
        return None

    def _may_renew(self) -> bool:
        """Return whether the attempt may be repeated with another token of the same credential."""
        candidate, choice = self.candidates[self.place], self.choice
        own_token = candidate.renews_token and candidate.auth == "provider" and (choice is None or choice.key is None)
        return not self.has_new_token and (candidate.accounts is not None or own_token)

    def _may_continue(self, failure: Failure, now: float) -> bool:
        if self.made >= self.failover.max_attempts or now - self.began >= self.failover.max_seconds:
            return False
        retried = RETRIED_STATUSES | REFUSED_KEY | (LIMITED if self.candidates[self.place].accounts else frozenset())
        return failure.kind is not FailureKind.STATUS or failure.status in retried

    def _pause(self, failure: Failure, now: float) -> float:
        """Return the seconds that the provider asks to wait; 0 if that is too long, or it does not say."""
        retry_after = failure.retry_after or 0.0
        fits = (
            retry_after <= self.failover.max_retry_after and now + retry_after < self.began + self.failover.max_seconds
        )
        return retry_after if fits else 0.0

    def _is_unreachable(self, failure: Failure, place: int) -> bool:
        """Return whether other keys would fail at the same upstream, and another upstream is left."""
        here, there = self.candidates[self.place], self.candidates[place]
        differ = (here.upstream, here.provider) != (there.upstream, there.provider)
        return failure.kind is FailureKind.CONNECT and differ

    def _is_cooling_down(self, place: int) -> bool:
        """Return whether a candidate has accounts, and none of them can be used now."""
        candidate = self.candidates[place]
        return candidate.accounts is not None and candidate.pool is not None and bool(candidate.pool.keys)

    def _next_place(self, now: float, *, limited: bool) -> int | None:
        """Find the next candidate that can be sent; one whose keys all cool down only if there is no other.

        `limited`: whether it may be one for the case that all accounts are limited.
        """
        left = range(self.place + 1, len(self.candidates))
        cooling = None
        for place in left:
            candidate = self.candidates[place]
            if candidate.if_limited and not limited:
                continue
            if not candidate.takes_key or candidate.pool is None or candidate.pool.has_available(now):
                return place
            if candidate.without_key and not candidate.pool.keys:
                return place
            if cooling is None and candidate.pool.keys and candidate.accounts is None:
                cooling = place
        return cooling

    def _key_at(self, place: int, now: float) -> ProviderKey | None:
        candidate = self.candidates[place]
        return candidate.pool.choose(now, session=self.session) if candidate.takes_key and candidate.pool else None

    def _other_key(self, now: float, *, available: bool) -> ProviderKey | None:
        candidate = self.candidates[self.place]
        if not candidate.takes_key or candidate.pool is None:
            return None
        return candidate.pool.choose(now, self.tried, session=self.session, available=available)

    def _choose(self, key: ProviderKey | None, wait: float, now: float) -> Attempt:
        if key:
            self.tried.append(key)
        self.choice = Attempt(self.candidates[self.place], key, wait, is_last=not self._more_to_come(now))
        return self.choice

    def _more_to_come(self, now: float) -> bool:
        if self.made >= self.failover.max_attempts:
            return False
        if (self.failover.max_retry_after and not self.came_back) or self.place + 1 < len(self.candidates):
            return True
        if self._may_renew():
            return True
        pool = self.candidates[self.place].pool
        return pool is not None and len(pool.keys) > len(self.tried)


def may_be_resent(operation: Operation, method: str, *, kept: bool) -> bool:
    """Return whether an operation may be sent more than once. `kept`: its whole body is kept, or it has none.

    A request that is sent twice may store an object at the provider twice, or fail to delete one that is already gone.
    """
    if not kept or operation.name in _STARTS_WORK:
        return False
    return operation.kind in (Kind.INFERENCE, Kind.LISTING) or method == "GET"


def one_attempt(failover: Failover) -> Failover:
    """Return settings under which nothing is tried a second time."""
    return Failover(1, failover.max_seconds, 0.0)
