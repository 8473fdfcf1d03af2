"""The keys of one provider or route, taken by turns or as `selection` says; a key that was refused rests meanwhile."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wirekey.secret import Secret

MAX_COOL_DOWN = 3600.0
FIRST_COOL_DOWN = {401: 30.0, 403: 30.0, 429: 1.0}
"""Seconds of the first rest by status, doubled at each refusal in a row, up to `LONGEST_REST`."""

REFUSED_KEY_SIGNS = {"gemini": (400, b"API_KEY_INVALID")}
"""By provider, a status that says little, and what the body says besides where the key was refused.

The word is the `reason` of google.rpc.ErrorInfo in the error's `details`.
"""

Selection = Literal["round-robin", "first-available", "random", "session-affinity"]


@dataclass(slots=True)
class ProviderKey:
    """One key. `label` is what audit and logs call it: openai/1."""

    label: str
    secret: Secret
    cooling_until: float = 0.0
    refusals: int = 0


@dataclass(slots=True)
class SessionAffinity:
    """Which session keeps to which key; of a session's name only a hash is kept, as that is the client's to choose.

    Those unused for `ttl` seconds are forgotten, and beyond `entries` those that were not used for longest.
    """

    ttl: float = 86400.0
    entries: int = 10_000
    kept: OrderedDict[bytes, tuple[ProviderKey, float]] = field(default_factory=OrderedDict, repr=False)

    def find(self, session: str, now: float) -> ProviderKey | None:
        while self.kept and now - next(iter(self.kept.values()))[1] >= self.ttl:
            self.kept.popitem(last=False)
        found = self.kept.get(digest(session))
        return found[0] if found else None

    def keep(self, session: str, key: ProviderKey, now: float) -> None:
        name = digest(session)
        self.kept[name] = (key, now)
        self.kept.move_to_end(name)
        while len(self.kept) > self.entries:
            self.kept.popitem(last=False)


@dataclass(slots=True)
class KeyPool:
    """Times are seconds of any one monotonic clock, given by the caller."""

    keys: Sequence[ProviderKey]
    next_index: int = field(default=0)
    selection: Selection = "round-robin"
    sessions: SessionAffinity = field(default_factory=SessionAffinity)

    def choose(
        self, now: float, tried: Collection[ProviderKey] = (), *, session: str | None = None, available: bool = False
    ) -> ProviderKey | None:
        """Give a key that was not `tried` and does not rest; where all rest, the one that rests least.

        `awake`: none of those that rest. `session`: who keeps to one key under session-affinity. None: there is none.
        """
        key = self.session_key(session, now, tried) or self.next_key(now, tried)
        if key is None and not available:
            key = self.soonest_available(tried)
        if key and session is not None and self.selection == "session-affinity":
            self.sessions.keep(session, key, now)
        return key

    def session_key(self, session: str | None, now: float, tried: Collection[ProviderKey]) -> ProviderKey | None:
        if session is None or self.selection != "session-affinity":
            return None
        key = self.sessions.find(session, now)
        return None if key is None or key.cooling_until > now or is_among(key, tried) else key

    def next_key(self, now: float, tried: Collection[ProviderKey]) -> ProviderKey | None:
        """Give a key that does not rest, as `selection` says; new sessions are spread by turns."""
        count = len(self.keys)
        if self.selection == "random":
            good = [each for each in self.keys if each.cooling_until <= now and not is_among(each, tried)]
            return random.choice(good) if good else None  # noqa: S311  # which key is no secret
        first = 0 if self.selection == "first-available" else self.next_index
        for step in range(count):
            key = self.keys[(first + step) % count]
            if key.cooling_until <= now and not is_among(key, tried):
                self.next_index = (first + step + 1) % count
                return key
        return None

    def soonest_available(self, tried: Collection[ProviderKey]) -> ProviderKey | None:
        left = [key for key in self.keys if not is_among(key, tried)]
        return min(left, key=lambda key: key.cooling_until, default=None)

    def has_available(self, now: float) -> bool:
        return any(key.cooling_until <= now for key in self.keys)

    def record_status(self, key: ProviderKey, status: int, retry_after: float | None, now: float) -> None:
        """Take note of how the provider answered `key`."""
        first_rest = FIRST_COOL_DOWN.get(status)
        if first_rest is None:
            if status < 400:
                key.refusals, key.cooling_until = 0, 0.0
            return
        growing = first_rest * 2.0 ** min(key.refusals, 16)
        key.refusals += 1
        key.cooling_until = now + min(MAX_COOL_DOWN, growing if retry_after is None else retry_after)

    def record_rejection(self, key: ProviderKey, now: float) -> None:
        """Take note that the provider refused `key` in words, whatever the status."""
        self.record_status(key, 401, None, now)

    def carry_over(self, previous: KeyPool) -> None:
        """Take over rests and sessions of keys that a former pool had too, when the configuration was read anew."""
        same = {}
        for key in self.keys:
            for old in previous.keys:
                if old.secret == key.secret:
                    key.cooling_until, key.refusals = old.cooling_until, old.refusals
                    same[id(old)] = key
        for name, (old, used) in previous.sessions.kept.items():
            if stays := same.get(id(old)):
                self.sessions.kept[name] = (stays, used)


def is_among(key: ProviderKey, tried: Collection[ProviderKey]) -> bool:
    return any(key is other for other in tried)


def digest(session: str) -> bytes:
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()[:16]


def retry_after_seconds(value: str | None, wall_clock: float) -> float | None:
    """Read a Retry-After header (RFC 9110 section 10.2.3): seconds or a date. None: absent or unreadable."""
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
