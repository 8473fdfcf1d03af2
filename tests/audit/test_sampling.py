from __future__ import annotations

import pytest

from wirekey.core.audit.sampling import MAX_ADDRESSES, OTHERS, WINDOW, RefusalSample

HERE, THERE = "192.0.2.1", "192.0.2.2"


def test_a_limited_number_per_address_and_minute_is_recorded_and_the_others_counted():
    sample = RefusalSample()
    assert [sample.admits(HERE, 0.0, 2) for _ in range(5)] == [True, True, False, False, False]
    assert sample.admits(THERE, 1.0, 2)
    assert sample.take_ended(WINDOW - 1) == []
    assert sample.take_ended(WINDOW) == [(HERE, 3)]
    assert sample.admits(HERE, WINDOW, 2)


def test_a_minute_without_drops_is_not_reported():
    sample = RefusalSample()
    assert sample.admits(HERE, 0.0, 1)
    assert sample.admits(HERE, WINDOW, 1)
    assert sample.take_ended(3 * WINDOW) == []
    assert not sample.windows


def test_the_number_of_tracked_addresses_is_bounded():
    sample = RefusalSample()
    for number in range(MAX_ADDRESSES + 500):
        sample.admits(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0, 1)
    assert len(sample.windows) == MAX_ADDRESSES + 1
    assert sample.take_ended(WINDOW) == [(OTHERS, 499)]


@pytest.mark.parametrize("address", ["2001:db8::1", "2001:db8::2"])
def test_an_ipv6_network_counts_as_one_address(address):
    sample = RefusalSample()
    sample.admits("2001:db8::3", 0.0, 1)
    assert not sample.admits(address, 0.0, 1)
