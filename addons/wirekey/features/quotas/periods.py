"""The periods of totals: hours, days, weeks and months of a calendar in a time zone, and all time. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import tzinfo

type Window = Literal["hour", "day", "week", "month", "lifetime"]
"""How long the periods of a total are. `lifetime`: there is one, which never ends."""

WINDOWS: tuple[Window, ...] = ("hour", "day", "week", "month", "lifetime")
"""From the shortest to the longest."""
NEVER = 7_258_118_400.0
"""2200-01-01, the end of the period `lifetime`: databases and servers need a moment at which they forget a total."""


@dataclass(frozen=True, slots=True)
class Period:
    """A period of a total. `start` and `end` are Unix seconds; `end` is the start of the next one."""

    label: str
    """`2026-01-31T14` for an hour, `2026-01-31` for a day, `2026-W05` for a week, `2026-01` for a month, with the time
    zone unless it is UTC. `lifetime` for all time."""
    start: float
    end: float

    def has(self, now: float) -> bool:
        """Return whether a moment is in the period."""
        return self.start <= now < self.end

    @property
    def last(self) -> float | None:
        """When it ends, or None if it never does."""
        return self.end if self.end < NEVER else None


LIFETIME = Period("lifetime", 0.0, NEVER)


@dataclass(slots=True, eq=False)
class Calendar:
    """The calendar of a time zone. It keeps the current periods, as finding one takes several microseconds."""

    zone: tzinfo
    name: str
    """Such as `Europe/Berlin`."""
    _current: dict[Window, Period] = field(default_factory=dict, repr=False)

    def period(self, window: Window, now: float) -> Period:
        """Return the period of a moment in Unix seconds.

        A day has 23 or 25 hours when the clocks change. A week begins on Monday. Hours are those of UTC: the clock of a
        zone shows some of them twice.
        """
        found = self._current.get(window)
        if found is None or not found.has(now):
            found = self._current[window] = self._found(window, now)
        return found

    def _found(self, window: Window, now: float) -> Period:
        if window == "lifetime":
            return LIFETIME
        if window == "hour":
            start = now // 3600 * 3600
            return Period(f"{datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H}", start, start + 3600)
        day = datetime.fromtimestamp(now, self.zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if window == "day":
            return self._period(day, day + timedelta(days=1), "%Y-%m-%d")
        if window == "week":
            monday = (day - timedelta(days=day.weekday())).replace(fold=0)
            return self._period(monday, monday + timedelta(days=7), "%G-W%V")
        first = day.replace(day=1, fold=0)
        return self._period(first, (first + timedelta(days=32)).replace(day=1), "%Y-%m")

    def _period(self, first: datetime, following: datetime, form: str) -> Period:
        zone = "" if self.zone is UTC else f"@{self.name}"
        return Period(f"{first.strftime(form)}{zone}", first.timestamp(), following.replace(fold=0).timestamp())

    def local_time(self, moment: float) -> str:
        """Return Unix seconds as a date and a time of this calendar, for messages."""
        return f"{datetime.fromtimestamp(moment, self.zone):%Y-%m-%d %H:%M} {self.name}"


UTC_CALENDAR = Calendar(UTC, "UTC")
