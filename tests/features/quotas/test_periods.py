"""Calendar days and months in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.features.quotas.periods import UTC_CALENDAR, Calendar

BERLIN = Calendar(ZoneInfo("Europe/Berlin"), "Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("calendar", "moment", "day", "month"),
    [
        (
            UTC_CALENDAR,
            "2026-01-31T23:59:59.9Z",
            ("2026-01-31", "2026-02-01T00:00:00Z"),
            ("2026-01", "2026-02-01T00:00:00Z"),
        ),
        (
            UTC_CALENDAR,
            "2026-02-01T00:00:00Z",
            ("2026-02-01", "2026-02-02T00:00:00Z"),
            ("2026-02", "2026-03-01T00:00:00Z"),
        ),
        (
            UTC_CALENDAR,
            "2024-02-29T12:00:00Z",
            ("2024-02-29", "2024-03-01T00:00:00Z"),
            ("2024-02", "2024-03-01T00:00:00Z"),
        ),
        (
            UTC_CALENDAR,
            "2026-12-31T01:00:00Z",
            ("2026-12-31", "2027-01-01T00:00:00Z"),
            ("2026-12", "2027-01-01T00:00:00Z"),
        ),
        # The day begins in Berlin while it is still the day before in UTC, and has 23 or 25 hours at a change.
        (
            BERLIN,
            "2026-01-31T23:00:00Z",
            ("2026-02-01@Europe/Berlin", "2026-02-01T23:00:00Z"),
            ("2026-02@Europe/Berlin", "2026-02-28T23:00:00Z"),
        ),
        (
            BERLIN,
            "2026-03-29T12:00:00Z",
            ("2026-03-29@Europe/Berlin", "2026-03-29T22:00:00Z"),
            ("2026-03@Europe/Berlin", "2026-03-31T22:00:00Z"),
        ),
        (
            BERLIN,
            "2026-10-25T00:30:00Z",
            ("2026-10-25@Europe/Berlin", "2026-10-25T23:00:00Z"),
            ("2026-10@Europe/Berlin", "2026-10-31T23:00:00Z"),
        ),
        (
            BERLIN,
            "2026-10-25T01:30:00Z",
            ("2026-10-25@Europe/Berlin", "2026-10-25T23:00:00Z"),
            ("2026-10@Europe/Berlin", "2026-10-31T23:00:00Z"),
        ),
    ],
)
def test_a_period_is_a_calendar_day_or_month_of_its_time_zone(calendar, moment, day, month):
    """`day` and `month`: the label, and the end."""
    now = at(moment)
    for period, (label, end) in ((calendar.day(now), day), (calendar.month(now), month)):
        assert (period.label, period.end) == (label, at(end))


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)),  # noqa: DTZ001  # hypothesis wants naive ones
    st.sampled_from(
        ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "America/Sao_Paulo")
    ),
)
def test_periods_follow_each_other_without_a_gap(moment, zone):
    now = moment.replace(tzinfo=UTC).timestamp()
    calendar = Calendar(UTC if zone == "UTC" else ZoneInfo(zone), zone)
    for period, shortest, longest in (
        (calendar.day, timedelta(hours=1), timedelta(hours=48)),
        (calendar.month, timedelta(days=27), timedelta(days=32)),
    ):
        found = period(now)
        assert found.has(now)
        assert shortest.total_seconds() <= found.end - found.start <= longest.total_seconds()
        assert period(found.end).start == found.end
        assert period(now) == found, "the clock was set back"
