"""The end of the calls of a process, as far as it has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Drain:
    """The state of the drain of this process. Times are those of the monotonic clock."""

    has_begun: bool = False
    """Whether the process is about to end, and only calls that have begun are finished."""
    last_response: float = 0.0
    """The time of the last response since then."""
    until: float = 0.0
    """The time at which calls are ended that have not finished."""
    ends_calls: bool = False
    """Whether calls that have not finished in time are ended now."""
