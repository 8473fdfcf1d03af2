"""The calendar days and months of budgets, in a time zone. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo


@dataclass(frozen=True, slots=True)
class Period:
    """A calendar day or month. `start` and `end` are Unix seconds; `end` is the start of the next one."""

    label: str
    """`2026-01-31` for a day, `2026-01` for a month, with the time zone unless it is UTC."""
    start: float
    end: float

    def has(self, now: float) -> bool:
        """Return whether a moment is in the period."""
        return self.start <= now < self.end


NO_PERIOD = Period("", 0.0, 0.0)


@dataclass(slots=True, eq=False)
class Calendar:
    """The calendar of a time zone. It keeps the current day and month, as finding them takes several microseconds."""

    zone: tzinfo
    name: str
    """Such as `Europe/Berlin`."""
    _day: Period = field(default=NO_PERIOD, repr=False)
    _month: Period = field(default=NO_PERIOD, repr=False)

    def day(self, now: float) -> Period:
        """Return the calendar day of a moment in Unix seconds. It has 23 or 25 hours when the clocks change."""
        if not self._day.has(now):
            first = datetime.fromtimestamp(now, self.zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
            following = (first + timedelta(days=1)).replace(fold=0)
            self._day = self._period(first, following, "%Y-%m-%d")
        return self._day

    def month(self, now: float) -> Period:
        """Return the calendar month of a moment in Unix seconds."""
        if not self._month.has(now):
            moment = datetime.fromtimestamp(now, self.zone)
            first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
            following = (first + timedelta(days=32)).replace(day=1)
            self._month = self._period(first, following, "%Y-%m")
        return self._month

    def _period(self, first: datetime, following: datetime, form: str) -> Period:
        zone = "" if self.zone is UTC else f"@{self.name}"
        return Period(f"{first.strftime(form)}{zone}", first.timestamp(), following.timestamp())

    def local_time(self, moment: float) -> str:
        """Return Unix seconds as a date and a time of this calendar, for messages."""
        return f"{datetime.fromtimestamp(moment, self.zone):%Y-%m-%d %H:%M} {self.name}"


UTC_CALENDAR = Calendar(UTC, "UTC")
