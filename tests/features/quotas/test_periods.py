"""Calendar hours, days, weeks and months in a time zone."""

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
    for period, (label, end) in ((calendar.period("day", now), day), (calendar.period("month", now), month)):
        assert (period.label, period.end) == (label, at(end))


@pytest.mark.parametrize(
    ("calendar", "moment", "week", "ends"),
    [
        (UTC_CALENDAR, "2026-01-31T12:00:00Z", "2026-W05", "2026-02-02T00:00:00Z"),
        (UTC_CALENDAR, "2026-02-02T00:00:00Z", "2026-W06", "2026-02-09T00:00:00Z"),
        # The first days of a year may be in the last week of the one before, and the last ones in the first.
        (UTC_CALENDAR, "2027-01-03T23:59:59Z", "2026-W53", "2027-01-04T00:00:00Z"),
        (UTC_CALENDAR, "2024-12-30T00:00:00Z", "2025-W01", "2025-01-06T00:00:00Z"),
        (BERLIN, "2026-02-01T23:30:00Z", "2026-W06@Europe/Berlin", "2026-02-08T23:00:00Z"),
        # An hour shorter or longer as the clocks change.
        (BERLIN, "2026-03-29T12:00:00Z", "2026-W13@Europe/Berlin", "2026-03-29T22:00:00Z"),
        (BERLIN, "2026-10-25T00:30:00Z", "2026-W43@Europe/Berlin", "2026-10-25T23:00:00Z"),
    ],
)
def test_a_week_begins_on_monday_in_its_time_zone(calendar, moment, week, ends):
    found = calendar.period("week", at(moment))
    assert (found.label, found.end) == (week, at(ends))


def test_hours_are_those_of_utc_so_that_none_occurs_twice_as_the_clocks_change():
    labels = [BERLIN.period("hour", at("2026-10-25T00:30:00Z") + 3600 * hours).label for hours in range(3)]
    assert labels == ["2026-10-25T00", "2026-10-25T01", "2026-10-25T02"]
    assert BERLIN.period("hour", at("2026-10-25T00:59:59Z")).end == at("2026-10-25T01:00:00Z")


def test_a_lifetime_never_ends():
    found = BERLIN.period("lifetime", at("2026-10-25T00:30:00Z"))
    assert found == UTC_CALENDAR.period("lifetime", 0.0)
    assert (found.label, found.last) == ("lifetime", None)
    assert found.has(at("2199-12-31T23:59:59Z"))


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)),  # noqa: DTZ001  # hypothesis wants naive ones
    st.sampled_from(
        ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "America/Sao_Paulo")
    ),
)
def test_periods_follow_each_other_without_a_gap(moment, zone):
    now = moment.replace(tzinfo=UTC).timestamp()
    calendar = Calendar(UTC if zone == "UTC" else ZoneInfo(zone), zone)
    for window, shortest, longest in (
        ("hour", timedelta(hours=1), timedelta(hours=1)),
        ("day", timedelta(hours=1), timedelta(hours=48)),
        ("week", timedelta(days=5), timedelta(days=9)),
        ("month", timedelta(days=27), timedelta(days=32)),
    ):
        found = calendar.period(window, now)
        assert found.has(now)
        assert shortest.total_seconds() <= found.end - found.start <= longest.total_seconds()
        following = calendar.period(window, found.end)
        assert following.start == found.end
        assert following.label != found.label
        assert calendar.period(window, now) == found, "the clock was set back"
