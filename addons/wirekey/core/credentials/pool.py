"""The provider keys of one provider or route: which key to use next, and which keys cool down after a refusal."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wirekey.core.secret import Secret

MAX_COOL_DOWN = 3600.0
FIRST_COOL_DOWN = {401: 30.0, 403: 30.0, 429: 1.0}
"""Seconds of the first cool-down by status. It doubles with each refusal in a row, up to `MAX_COOL_DOWN`."""

Selection = Literal["round-robin", "first-available", "random", "session-affinity"]


@dataclass(slots=True)
class ProviderKey:
    """One provider key and its cool-down. `label` is its name in the audit and in logs, such as `openai/1`.

    `cooling_until` is a time of the caller's monotonic clock; 0 means that the key is available.
    """

    label: str
    secret: Secret
    cooling_until: float = 0.0
    refusals: int = 0
    defaults: dict[str, set[str]] = field(default_factory=dict)
    """Modifier of the price → what its account gave to requests that left it open."""


@dataclass(slots=True)
class SessionAffinity:
    """The key that each session uses. Only a hash of a session's name is kept, because clients choose the name.

    Sessions unused for `ttl` seconds are forgotten. Beyond `entries`, the least recently used ones are.
    """

    ttl: float = 86400.0
    entries: int = 10_000
    kept: OrderedDict[bytes, tuple[ProviderKey, float]] = field(default_factory=OrderedDict, repr=False)

    def find(self, session: str, now: float) -> ProviderKey | None:
        """Return the key of a session, or None if the session is unknown or has expired."""
        while self.kept and now - next(iter(self.kept.values()))[1] >= self.ttl:
            self.kept.popitem(last=False)
        found = self.kept.get(digest(session))
        return found[0] if found else None

    def keep(self, session: str, key: ProviderKey, now: float) -> None:
        """Remember that a session uses a key."""
        name = digest(session)
        self.kept[name] = (key, now)
        self.kept.move_to_end(name)
        while len(self.kept) > self.entries:
            self.kept.popitem(last=False)


@dataclass(slots=True)
class KeyPool:
    """The keys of one provider or route. Calls choose a key here and report what status it got.

    All times are seconds of one monotonic clock, passed by the caller.
    """

    keys: Sequence[ProviderKey]
    next_index: int = field(default=0)
    selection: Selection = "round-robin"
    sessions: SessionAffinity = field(default_factory=SessionAffinity)

    def choose(
        self, now: float, tried: Collection[ProviderKey] = (), *, session: str | None = None, available: bool = False
    ) -> ProviderKey | None:
        """Return an untried key that is available. If all keys cool down, return the one that is available soonest.

        `available`: never return a key that cools down. `session`: the session that should keep its key under
        session-affinity. Returns None if no key is left.
        """
        key = self.session_key(session, now, tried) or self.next_key(now, tried)
        if key is None and not available:
            key = self.soonest_available(tried)
        if key and session is not None and self.selection == "session-affinity":
            self.sessions.keep(session, key, now)
        return key

    def session_key(self, session: str | None, now: float, tried: Collection[ProviderKey]) -> ProviderKey | None:
        """Return the session's previous key if it is available and untried, or None."""
        if session is None or self.selection != "session-affinity":
            return None
        key = self.sessions.find(session, now)
        return None if key is None or key.cooling_until > now or is_among(key, tried) else key

    def next_key(self, now: float, tried: Collection[ProviderKey]) -> ProviderKey | None:
        """Return an available key by the `selection` rule, or None. New sessions are spread round-robin."""
        count = len(self.keys)
        if self.selection == "random":
            available = [key for key in self.keys if key.cooling_until <= now and not is_among(key, tried)]
            return random.choice(available) if available else None  # noqa: S311  # which key is no secret
        first = 0 if self.selection == "first-available" else self.next_index
        for step in range(count):
            key = self.keys[(first + step) % count]
            if key.cooling_until <= now and not is_among(key, tried):
                self.next_index = (first + step + 1) % count
                return key
        return None

    def soonest_available(self, tried: Collection[ProviderKey]) -> ProviderKey | None:
        """Return the untried key whose cool-down ends first, or None if all were tried."""
        left = [key for key in self.keys if not is_among(key, tried)]
        return min(left, key=lambda key: key.cooling_until, default=None)

    def has_available(self, now: float) -> bool:
        """Return whether any key is not cooling down."""
        return any(key.cooling_until <= now for key in self.keys)

    def record_status(self, key: ProviderKey, status: int, retry_after: float | None, now: float) -> None:
        """Cool down a key that got 401, 403 or 429. Any status below 400 ends its cool-down.

        `retry_after`: seconds that the provider asked for, which replace the growing cool-down.
        """
        first = FIRST_COOL_DOWN.get(status)
        if first is not None:
            growing = first * 2.0 ** min(key.refusals, 16)
            self.cool_down(key, growing if retry_after is None else retry_after, now)
        elif status < 400:
            key.refusals, key.cooling_until = 0, 0.0

    def record_rejection(self, key: ProviderKey, now: float) -> None:
        """Cool down a key that the provider rejected in the response body, whatever the status."""
        self.record_status(key, 401, None, now)

    def cool_down(self, key: ProviderKey, seconds: float, now: float) -> None:
        """Make a key unavailable for some seconds, at most `MAX_COOL_DOWN`, and count the refusal."""
        key.refusals += 1
        key.cooling_until = now + min(MAX_COOL_DOWN, seconds)

    def carry_over(self, previous: KeyPool) -> None:
        """Copy the cool-downs and sessions of keys that the previous pool had, too. Used after a reload."""
        same = {}
        for key in self.keys:
            for old in previous.keys:
                if old.secret == key.secret:
                    key.cooling_until, key.refusals = old.cooling_until, old.refusals
                    same[id(old)] = key
        for name, (old, used) in previous.sessions.kept.items():
            if kept_key := same.get(id(old)):
                self.sessions.kept[name] = (kept_key, used)


def is_among(key: ProviderKey, tried: Collection[ProviderKey]) -> bool:
    """Return whether `key` itself, not an equal one, is in `tried`."""
    return any(key is other for other in tried)


def digest(session: str) -> bytes:
    """Return the hash under which a session's name is kept."""
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()[:16]


def retry_after_seconds(value: str | None, wall_clock: float) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110 section 10.2.3), which holds seconds or a date.

    `wall_clock`: the present Unix time. Returns None if the header is absent or unreadable.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - wall_clock
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if 0 <= seconds < float("inf") else None
