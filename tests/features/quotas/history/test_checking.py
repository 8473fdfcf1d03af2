"""The checker finds each violation, and nothing in histories without one."""

from dataclasses import replace

import pytest

from tests.features.quotas.history.checking import Bound, Event, Kind, violations

BOUND = Bound(limit=100, excess=10, unrecorded=0)


def call(name: str, at: float, *, cost: int = 20, charged: int | None = None) -> list[Event]:
    """A call that passes."""
    return [
        Event(Kind.ASKED, name, at),
        Event(Kind.INTENT, name, at + 0.1, 25),
        Event(Kind.SENT, name, at + 0.2, cost),
        Event(Kind.SETTLED, name, at + 0.4, cost if charged is None else charged),
        Event(Kind.ACCEPTED, name, at + 0.3),
    ]


def refused(name: str, at: float) -> list[Event]:
    return [Event(Kind.ASKED, name, at), Event(Kind.REFUSED, name, at + 0.1)]


def charge(*amounts: int) -> list[Event]:
    return [Event(Kind.LEDGERS, "", 99, amount) for amount in amounts]


A, B = call("a", 1), call("b", 2)
END = Event(Kind.ENDED, "", 10)


def without(kind: Kind, events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind is not kind]


@pytest.mark.parametrize(
    "history",
    [
        [],
        [*A, *B, *refused("c", 3), *charge(40, 40)],
        [*(event for number in range(5) for event in call(f"{number}", number)), *call("one more", 6, cost=10)],
        [*A, END, *refused("late", 13)],
        [*A, END, *call("in time", 11.9)],
        [*A, Event(Kind.ASKED, "lost", 2), Event(Kind.INTENT, "lost", 3, 9), Event(Kind.LOST, "lost", 4, 9)],
        [*A, Event(Kind.INTENT, "lost", 3, 9), Event(Kind.LOST, "lost", 4, 9), *charge(20, 25, 29)],
        [*A, Event(Kind.INTENT, "a", 1.05, 25), Event(Kind.SENT, "a", 1.06, 0)],
        list(reversed([*A, *B, *charge(40)])),
    ],
    ids=["empty", "plain", "bound", "refused late", "2 s", "lost", "lost charge", "two attempts", "any order"],
)
def test_a_good_history_violates_nothing(history):
    assert violations(history, BOUND) == []


def test_a_busy_provider_notes_a_request_late():
    history = [*without(Kind.SETTLED, A), Event(Kind.SETTLED, "a", 1.1)]
    assert violations(history, replace(BOUND, seen_within=0.1)) == []
    assert violations(history, replace(BOUND, seen_within=0.09)) == ["a was settled 0.100 s before it was sent"]


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([*(event for number in range(6) for event in call(f"{number}", number))], "spent 120, which is 20 over"),
        (without(Kind.INTENT, A), "a was sent 1 times with 0 intents"),
        ([*A, Event(Kind.SENT, "a", 1.25)], "a was sent 2 times with 1 intents"),
        ([*A, Event(Kind.INTENT, "a", 1.15)], "a has 2 intents and was sent 1 times"),
        ([*without(Kind.INTENT, A), Event(Kind.INTENT, "a", 1.3)], "a was sent 0.100 s before its intent"),
        (without(Kind.SETTLED, A), "a was sent and never settled"),
        ([*without(Kind.SETTLED, A), Event(Kind.SETTLED, "a", 1.1)], "a was settled 0.100 s before it was sent"),
        ([*A, Event(Kind.SETTLED, "a", 1.5)], "a was settled 2 times"),
        ([*A, Event(Kind.LOST, "a", 1.5)], "a was settled 2 times"),
        ([*without(Kind.ACCEPTED, A), Event(Kind.REFUSED, "a", 1.5)], "a was refused, and sent"),
        ([END, *call("late", 12.1)], "late began 2.100 s after the end of the run, and was accepted"),
        ([END, *call("late", 12.1)], "late began 2.100 s after the end of the run, and was sent"),
        ([*A, *B, *charge(40, 60)], "ledgers: 60 for calls that were settled at 40 at most: something twice"),
        ([*A, Event(Kind.LOST, "lost", 4, 9), *charge(30)], "ledgers: 30 for calls that were settled at 29 at most"),
        ([*A, *B, *charge(20, 40)], "ledgers: 20 for calls that were settled at 40: something is missing"),
        ([*A, Event(Kind.SHARED, "", 99, 0)], "shared state: 0 for calls that were settled at 20"),
    ],
)
def test_each_violation_is_found(history, words):
    assert any(words in sentence for sentence in violations(history, BOUND)), violations(history, BOUND)


def test_the_bound_is_a_parameter():
    assert violations([END, *call("late", 12.9)], Bound(limit=100, excess=0, ends_within=3)) == []
    history = [*A, *B, *charge(20)]
    assert violations(history, Bound(limit=20, excess=20, unrecorded=20)) == []
    assert len(violations(history, Bound(limit=20, excess=19, unrecorded=19))) == 2
