"""A history of calls and what it violates. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

CLOCK_ERROR = 0.005
"""Seconds by which the times of two processes may differ: the audit log has milliseconds."""


class Kind(StrEnum):
    """What happened. `amount` is in billionths of a dollar."""

    ASKED = "asked"
    """A client has sent a call."""
    ACCEPTED = "accepted"
    """A client has got a response of the provider."""
    REFUSED = "refused"
    """A client has got a refusal, which says that nothing was sent."""
    INTENT = "intent"
    """A replica has recorded an attempt, whose largest cost, the amount, it has reserved."""
    SENT = "sent"
    """The provider has got a request, and charges the amount."""
    SETTLED = "settled"
    """A replica has recorded the end of the last attempt. It charges the amount to the run."""
    LOST = "lost"
    """A call has ended of which it is not known whether it is charged, up to the amount.

    Its replica was killed, or it was interrupted or timed out before the provider got it.
    """
    ENDED = "ended"
    """The run has ended: it was stopped, or its time was over. `call` is empty here and below."""
    LEDGERS = "ledgers"
    """The total of the run at the end, by the ledgers of all replicas together."""
    SHARED = "shared state"
    """The same by the shared state."""


TOTALS = (Kind.LEDGERS, Kind.SHARED)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a history. `at`: Unix seconds by the clock of the harness."""

    kind: Kind
    call: str = ""
    at: float = 0.0
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """What a run may spend. `excess`: the stated bound, by which the limit may be exceeded.

    `unrecorded`: how much of what has ended may be missing from the charge, because a replica was killed.
    `ends_within`: seconds after the end of the run in which calls may still be accepted.
    `seen_within`: seconds until the provider has noted a request that was sent: it is as busy as the machine.
    """

    limit: int
    excess: int
    unrecorded: int = 0
    ends_within: float = 2.0
    seen_within: float = 0.0


def violations(history: Iterable[Event], bound: Bound) -> list[str]:
    """Return what a history violates, a sentence for each."""
    events = sorted(history, key=lambda event: event.at)
    return [
        *overspent(events, bound),
        *sent_without_record(events, bound),
        *accepted_late(events, bound),
        *charged_wrongly(events, bound),
    ]


def of_kind(events: Sequence[Event], *kinds: Kind) -> list[Event]:
    return [event for event in events if event.kind in kinds]


def overspent(events: Sequence[Event], bound: Bound) -> list[str]:
    """What the provider charges for all requests is at most the limit and the bound."""
    spent = sum(event.amount for event in of_kind(events, Kind.SENT))
    if spent <= bound.limit + bound.excess:
        return []
    return [f"spent {spent}, which is {spent - bound.limit} over the limit, with a bound of {bound.excess}"]


def sent_without_record(events: Sequence[Event], bound: Bound) -> list[str]:
    """Each upstream request has exactly one intent before it, and its call one settlement after it.

    A refused call reaches no provider.
    """
    found: list[str] = []
    by_call: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.call:
            by_call[event.call].append(event)
    for call, of_call in by_call.items():
        sent = of_kind(of_call, Kind.SENT)
        intents, ends = of_kind(of_call, Kind.INTENT), of_kind(of_call, Kind.SETTLED, Kind.LOST)
        if len(ends) > 1:
            found.append(f"{call} was settled {len(ends)} times")
        if not sent:
            continue
        if len(sent) > len(intents):
            found.append(f"{call} was sent {len(sent)} times with {len(intents)} intents")
        elif len(intents) > len(sent) and not of_kind(ends, Kind.LOST):
            found.append(f"{call} has {len(intents)} intents and was sent {len(sent)} times")
        found += [
            f"{call} was sent {intent.at - request.at:.3f} s before its intent"
            for intent, request in zip(intents, sent, strict=False)
            if request.at < intent.at - CLOCK_ERROR
        ]
        if not ends:
            found.append(f"{call} was sent and never settled")
        elif ends[0].at < sent[-1].at - CLOCK_ERROR - bound.seen_within:
            found.append(f"{call} was settled {sent[-1].at - ends[0].at:.3f} s before it was sent")
        if of_kind(of_call, Kind.REFUSED):
            found.append(f"{call} was refused, and sent")
    return found


def accepted_late(events: Sequence[Event], bound: Bound) -> list[str]:
    """No call that began later than two seconds after the end of the run is accepted or sent."""
    end = min((event.at for event in of_kind(events, Kind.ENDED)), default=None)
    if end is None:
        return []
    late = {event.call: event.at - end for event in of_kind(events, Kind.ASKED) if event.at > end + bound.ends_within}
    return [
        f"{event.call} began {late[event.call]:.3f} s after the end of the run, and was {event.kind}"
        for event in of_kind(events, Kind.ACCEPTED, Kind.SENT)
        if event.call in late
    ]


def charged_wrongly(events: Sequence[Event], bound: Bound) -> list[str]:
    """Each total of the run has what its calls were settled at: nothing twice, and nothing missing."""
    settled = sum(event.amount for event in of_kind(events, Kind.SETTLED))
    most = settled + sum(event.amount for event in of_kind(events, Kind.LOST))
    found = []
    for event in of_kind(events, *TOTALS):
        if event.amount > most:
            found.append(f"{event.kind}: {event.amount} for calls that were settled at {most} at most: something twice")
        if event.amount < settled - bound.unrecorded:
            found.append(f"{event.kind}: {event.amount} for calls that were settled at {settled}: something is missing")
    return found


def counts(history: Iterable[Event]) -> str:
    """Return how many events of each kind a history has, for people."""
    numbers = Counter(event.kind for event in history)
    return ", ".join(f"{number} {kind}" for kind, number in sorted(numbers.items()) if kind not in TOTALS)
