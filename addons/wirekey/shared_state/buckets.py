"""Token buckets by the Generic Cell Rate Algorithm (ITU-T I.371), which keeps one time for each bucket.

That is the time at which the bucket is full again. Each unit taken moves it by the time in which one unit is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.shared_state.protocol import RateLevel

if TYPE_CHECKING:
    from wirekey.shared_state.protocol import Rate


def interval_of(rate: Rate) -> float:
    """Return the seconds in which one unit is added to a bucket."""
    return rate.period / rate.limit


def burst_of(rate: Rate) -> int:
    """Return the capacity of a bucket."""
    return rate.limit if rate.burst is None else rate.burst


def wait_for(rate: Rate, full_at: float, now: float) -> float:
    """Return the seconds until the amount fits, 0 if it fits now. `full_at`: when the bucket is full."""
    if rate.amount <= 0:
        return 0.0
    spare = (burst_of(rate) - min(rate.amount, burst_of(rate))) * interval_of(rate)
    return max(0.0, full_at - now - spare)


def taken(rate: Rate, full_at: float, now: float) -> float:
    """Return when the bucket is full after the amount was taken, or given back if it is negative."""
    return max(now, max(now, full_at) + rate.amount * interval_of(rate))


def level(rate: Rate, full_at: float, now: float, retry_after: float = 0.0) -> RateLevel:
    """Return the level of a bucket."""
    missing = max(0.0, full_at - now)
    # The rounding removes what floating point adds to a whole number of units: Unix times are exact to a microsecond.
    left = burst_of(rate) - round(missing / interval_of(rate), 2)
    return RateLevel(max(0, int(left // 1)), missing, retry_after)
