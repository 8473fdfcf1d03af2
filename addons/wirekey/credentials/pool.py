"""The keys of one provider, used in turn; a key that was refused rests while others serve."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.secret import Secret

LONGEST_REST = 3600.0
FIRST_REST = {401: 30.0, 403: 30.0, 429: 1.0}
"""Seconds of the first rest by status, doubled at each refusal in a row, up to `LONGEST_REST`."""

REFUSED_KEY_SIGNS = {"gemini": (400, b"API_KEY_INVALID")}
"""By provider, a status that says little, and what the body says besides where the key was refused.

The word is the `reason` of google.rpc.ErrorInfo in the error's `details`.
"""


@dataclass(slots=True)
class Key:
    """One key. `label` is what audit and logs call it: openai/1."""

    label: str
    secret: Secret
    resting_until: float = 0.0
    refusals: int = 0


@dataclass(slots=True)
class KeyPool:
    """Times are seconds of any one monotonic clock, given by the caller."""

    keys: Sequence[Key]
    turn: int = field(default=0)

    def choose(self, now: float) -> Key | None:
        """Give the next key that does not rest; where all rest, the one that rests least. None: there is none."""
        if not self.keys:
            return None
        count = len(self.keys)
        for step in range(count):
            key = self.keys[(self.turn + step) % count]
            if key.resting_until <= now:
                self.turn = (self.turn + step + 1) % count
                return key
        return min(self.keys, key=lambda key: key.resting_until)

    def settle(self, key: Key, status: int, retry_after: float | None, now: float) -> None:
        """Take note of how the provider answered `key`."""
        first_rest = FIRST_REST.get(status)
        if first_rest is None:
            if status < 400:
                key.refusals, key.resting_until = 0, 0.0
            return
        growing = first_rest * 2.0 ** min(key.refusals, 16)
        key.refusals += 1
        key.resting_until = now + min(LONGEST_REST, growing if retry_after is None else retry_after)

    def settle_refused(self, key: Key, now: float) -> None:
        """Take note that the provider refused `key` in words, whatever the status."""
        self.settle(key, 401, None, now)

    def carry_over(self, former: KeyPool) -> None:
        """Take over the state of keys that a former pool had too, when the configuration was read anew."""
        for key in self.keys:
            for old in former.keys:
                if old.secret == key.secret:
                    key.resting_until, key.refusals = old.resting_until, old.refusals


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
