"""The token of a program is renewed every few minutes while the program runs."""

from __future__ import annotations

import threading

import pytest

from wirekey.cli import renewed_token
from wirekey.cli.renewed_token import LIFETIME, LOOK_EVERY, RENEW_AFTER, RETRY_AFTER, renew_until
from wirekey.core.errors import UserError
from wirekey.core.identity.agents_format import AgentError


class Program:
    """A program that runs for a number of seconds, with the clock of its computer, which may sleep or be set."""

    def __init__(self, seconds: float, jumps: dict[float, float] | None = None) -> None:
        self.now, self.run, self.seconds, self.jumps = 1_000_000.0, 0.0, seconds, jumps or {}

    def wait(self, seconds: float) -> bool:
        self.run += seconds
        self.now += seconds + self.jumps.pop(self.run, 0)
        return self.run > self.seconds


@pytest.fixture
def renewals():
    """Run a program in a thread of its own, as its signals are blocked there, and return when it renewed."""

    def run(program: Program, failures: list[Exception | None] | None = None) -> list[float]:
        moments, outcomes = [], list(failures or [])

        def renew() -> None:
            moments.append(program.run)
            if outcomes and (error := outcomes.pop(0)):
                raise error

        thread = threading.Thread(target=renew_until, args=(program, renew, lambda: program.now))
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        return moments

    return run


def test_the_token_is_renewed_long_before_it_ends(renewals):
    moments = renewals(Program(3600))
    assert moments == [RENEW_AFTER * count for count in range(1, 13)]
    assert LIFETIME >= 2 * RENEW_AFTER + LOOK_EVERY


def test_a_renewal_that_fails_is_tried_again_soon(renewals):
    down = UserError("The database of the agents cannot be used.")
    moments = renewals(Program(RENEW_AFTER * 2 + 65), [down, down])
    assert moments == [RENEW_AFTER, RENEW_AFTER + RETRY_AFTER, RENEW_AFTER + 2 * RETRY_AFTER, 2 * RENEW_AFTER + 60]


def test_a_token_that_was_revoked_is_not_asked_for_again(renewals):
    assert renewals(Program(3600), [AgentError("It was revoked.")]) == [RENEW_AFTER]


@pytest.mark.parametrize("jump", [8 * 3600, -8 * 3600], ids=["the computer slept", "the clock was set back"])
def test_the_token_is_renewed_as_soon_as_the_clock_has_jumped(renewals, jump):
    assert renewals(Program(60, {20: jump})) == [20]


def test_a_program_that_ends_soon_renews_nothing(renewals):
    assert renewals(Program(renewed_token.RENEW_AFTER - LOOK_EVERY)) == []
