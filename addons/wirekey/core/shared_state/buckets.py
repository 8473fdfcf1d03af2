"""Token buckets by the Generic Cell Rate Algorithm (ITU-T I.371), which keeps one time for each bucket.

That is the time at which the bucket is full again. Each unit taken moves it by the time in which one unit is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.shared_state.protocol import RateLevel

if TYPE_CHECKING:
    from wirekey.core.shared_state.protocol import Rate


def interval_of(rate: Rate) -> float:
    """Return the seconds in which one unit is added to a bucket."""
    return rate.period / rate.limit


def burst_of(rate: Rate) -> int:
    """Return the capacity of a bucket."""
    return rate.limit if rate.burst is None else rate.burst


def wait_for(rate: Rate, full_at: float, now: float) -> float:
    """Return the seconds until the amount fits, 0 if it fits now. `full_at`: when the bucket is full."""
    missing = full_at - now
    if missing <= 0 or rate.amount <= 0:
        return 0.0
    burst = burst_of(rate)
    spare = (burst - min(rate.amount, burst)) * interval_of(rate)
    return max(0.0, missing - spare)


def taken(rate: Rate, full_at: float, now: float) -> float:
    """Return when the bucket is full after the amount was taken, or given back if it is negative."""
    full = (max(now, full_at)) + rate.amount * rate.period / rate.limit
    return max(now, full)


def level(rate: Rate, full_at: float, now: float, retry_after: float = 0.0) -> RateLevel:
    """Return the level of a bucket."""
    missing = full_at - now
    if missing <= 0:
        return RateLevel(burst_of(rate), 0.0, retry_after)
    # The rounding removes what floating point adds to a whole number of units: times are exact to a microsecond.
    left = burst_of(rate) - round(missing * rate.limit / rate.period, 2)
    return RateLevel(int(left) if left > 0 else 0, missing, retry_after)
