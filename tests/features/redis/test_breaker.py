"""When a server that fails is asked no longer, and how it is found to be back."""

from __future__ import annotations

import pytest

from wirekey.features.redis.breaker import FAILURES, REST, SHARE, SPREAD, Breaker


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock)


@pytest.fixture
def opened(breaker, clock):
    for _ in range(FAILURES):
        breaker.fail()
        clock.now += SPREAD
    clock.now -= SPREAD
    assert breaker.is_open
    return breaker


def test_failures_of_one_moment_however_many_do_not_open_it(breaker):
    assert not any(breaker.fail() for _ in range(100))
    assert breaker.allows()


def test_failures_over_some_time_open_it_once(breaker, clock):
    opened = []
    for _ in range(2 * FAILURES):
        clock.now += SPREAD / 2
        opened.append(breaker.fail())
    assert opened.count(True) == 1
    assert not breaker.allows()


def test_a_success_between_failures_keeps_it_closed(breaker, clock):
    for _ in range(10 * FAILURES):
        clock.now += SPREAD
        breaker.fail()
        assert not breaker.succeed()
    assert breaker.allows()


def test_few_failures_do_not_open_it_however_long_ago_the_first_was(breaker, clock):
    for _ in range(FAILURES - 1):
        breaker.fail()
        clock.now += 100 * SPREAD
    assert breaker.allows()


def test_after_a_rest_a_share_of_the_calls_tries_the_server(opened, clock):
    clock.now += REST
    assert [opened.allows() for _ in range(4 * SHARE)].count(True) == 4


def test_one_probe_that_fails_decides_nothing(opened, clock):
    clock.now += REST
    opened.fail()
    assert any(opened.allows() for _ in range(SHARE))


def test_probes_that_all_fail_start_another_rest(opened, clock):
    clock.now += REST
    assert not any(opened.fail() for _ in range(FAILURES)), "it is no news that the server is away"
    assert not any(opened.allows() for _ in range(10 * SHARE))
    clock.now += REST
    assert any(opened.allows() for _ in range(SHARE))


def test_one_probe_that_succeeds_closes_it(opened, clock):
    clock.now += REST
    assert opened.succeed()
    assert all(opened.allows() for _ in range(10))


def test_a_sign_of_life_ends_the_rest(opened):
    opened.probe_now()
    assert [opened.allows() for _ in range(SHARE)].count(True) == 1
